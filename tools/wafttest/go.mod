module github.com/waft-project/waft/tools/wafttest

go 1.26.0
