module github.com/waft-project/waft/tools/mcpinterop

go 1.26.0

require (
	github.com/gogo/protobuf v1.3.0
	google.golang.org/grpc v1.23.1
	istio.io/api v0.0.0-20200513175333-ae3da0d240e3
	istio.io/gogo-genproto v0.0.0-20190930162913-45029607206a
)

require (
	github.com/golang/protobuf v1.3.2 // indirect
	github.com/waft-project/waft/tools/wafttest v0.0.0
	golang.org/x/net v0.0.0-20191004110552-13f9640d40b9 // indirect
	golang.org/x/sys v0.0.0-20190826190057-c7b8b68b1456 // indirect
	golang.org/x/text v0.3.2 // indirect
	google.golang.org/genproto v0.0.0-20180817151627-c66870c02cf8 // indirect
)

replace github.com/waft-project/waft/tools/wafttest => ../wafttest
