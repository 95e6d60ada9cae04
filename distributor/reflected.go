package distributor

import (
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/reflection"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
	alphapb "google.golang.org/grpc/reflection/grpc_reflection_v1alpha"

	"github.com/waft-project/waft/distributor/access"
)

// registerReflection has clients such as grpcurl find what a port serves. One of several replicas has few services registered, since it relays the calls of all others
// to the one that leads: it names those that have a row in the table of who may do what.
func registerReflection(port interface {
	grpc.ServiceRegistrar
	reflection.ServiceInfoProvider
}, relays bool) {
	options := reflection.ServerOptions{Services: port}
	if relays {
		options.Services = everyService{}
	}
	reflectionpb.RegisterServerReflectionServer(port, reflection.NewServerV1(options))
	alphapb.RegisterServerReflectionServer(port, reflection.NewServer(options))
}

// everyService are the services of a distributor, wherever they are carried out.
type everyService struct{}

// GetServiceInfo implements reflection.ServiceInfoProvider.
func (everyService) GetServiceInfo() map[string]grpc.ServiceInfo {
	services := map[string]grpc.ServiceInfo{}
	for method := range access.Methods() {
		if service, _, ok := strings.Cut(strings.TrimPrefix(method, "/"), "/"); ok {
			services[service] = grpc.ServiceInfo{}
		}
	}
	return services
}
