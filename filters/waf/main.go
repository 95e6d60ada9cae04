package main

import "github.com/waft-project/waft/sdk"

func init() { sdk.Register(configure) }

func main() {}
