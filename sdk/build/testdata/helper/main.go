// Command helper is a filter whose registration stands in another package.
package main

import "github.com/waft-project/waft/sdk/build/testdata/helper/inner"

func init() { inner.Register() }

func main() {}
