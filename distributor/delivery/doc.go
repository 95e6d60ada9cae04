// Package delivery turns layers, releases and a node into that node's collections. It is pure.
package delivery
