package access

import "maps"

// OfMethod is what a gRPC method is, by its full name: empty, and allowed to nobody, for one without a row.
func OfMethod(name string) Action { return methods[name] }

// Methods are the rows of all gRPC methods.
func Methods() map[string]Action { return maps.Clone(methods) }

// OfRoute is what a route of the HTTP port is, by its pattern: empty, and allowed to nobody, for one without a row.
func OfRoute(pattern string) Action { return routes[pattern] }

// Routes are the rows of all routes.
func Routes() map[string]Action { return maps.Clone(routes) }

// methods is what each gRPC method is. It does not change.
//
// Methods that are about a layer are looked at twice: at the port, where whoever may do such a thing nowhere is turned away, and in the service, once
// it knows the layer.
var methods = map[string]Action{
	"/waft.v1.ReleaseService/CreateRelease": CreateRelease,
	"/waft.v1.ReleaseService/GetRelease":    Read,
	"/waft.v1.ReleaseService/ListReleases":  Read,

	"/waft.v1.ResourceService/ApplyResources":  WriteResource,
	"/waft.v1.ResourceService/DiffResources":   Read,
	"/waft.v1.ResourceService/DeleteResources": WriteResource,
	"/waft.v1.ResourceService/GetResource":     Read,
	"/waft.v1.ResourceService/ListResources":   Read,
	"/waft.v1.ResourceService/ListCollections": Read,

	"/waft.v1.TypeService/RegisterTypes": WriteResource,
	"/waft.v1.TypeService/ListTypes":     Read,

	"/waft.v1.SecretService/SetSecret":    WriteSecret,
	"/waft.v1.SecretService/DeleteSecret": WriteSecret,
	"/waft.v1.SecretService/GetSecret":    Read,
	"/waft.v1.SecretService/ListSecrets":  Read,
	"/waft.v1.SecretService/RekeySecrets": RekeySecrets,

	"/waft.v1.RolloutService/StartRollout":   MoveRollout,
	"/waft.v1.RolloutService/PlanRollout":    Read,
	"/waft.v1.RolloutService/PlanUndo":       Read,
	"/waft.v1.RolloutService/GetRollout":     Read,
	"/waft.v1.RolloutService/ListRollouts":   Read,
	"/waft.v1.RolloutService/WatchRollout":   Read,
	"/waft.v1.RolloutService/PauseRollout":   MoveRollout,
	"/waft.v1.RolloutService/ResumeRollout":  MoveRollout,
	"/waft.v1.RolloutService/PromoteRollout": MoveRollout,
	"/waft.v1.RolloutService/AbortRollout":   MoveRollout,
	"/waft.v1.RolloutService/UndoRollout":    MoveRollout,
	"/waft.v1.RolloutService/ApproveRollout": ApproveRollout,

	"/waft.v1.NodeService/GetNode":     Read,
	"/waft.v1.NodeService/ListNodes":   Read,
	"/waft.v1.NodeService/RetryNode":   TendNode,
	"/waft.v1.NodeService/ReleaseNode": TendNode,

	"/waft.v1.FilterService/ListDisabledFilters": Read,
	"/waft.v1.FilterService/DisableFilter":       DisableFilter,
	"/waft.v1.FilterService/EnableFilter":        DisableFilter,

	"/waft.v1.FreezeService/StartFreeze": FreezeRollouts,
	"/waft.v1.FreezeService/EndFreeze":   FreezeRollouts,
	"/waft.v1.FreezeService/GetFreeze":   Read,

	"/waft.v1.ArtifactService/ListArtifacts": Read,

	"/waft.v1.BackupService/Backup": Backup,

	"/waft.v1.AuditService/ListAudit":    Read,
	"/waft.v1.VersionService/GetVersion": Read,

	"/waft.v1.ReportService/Report":                                                    Connect,
	"/istio.mcp.v1alpha1.ResourceSource/EstablishResourceStream":                       Connect,
	"/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources": Connect,
	"/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources":  Connect,
	"/envoy.service.metrics.v3.MetricsService/StreamMetrics":                           Connect,

	"/grpc.health.v1.Health/Check": Probe,
	"/grpc.health.v1.Health/List":  Probe,
	"/grpc.health.v1.Health/Watch": Probe,

	"/grpc.reflection.v1.ServerReflection/ServerReflectionInfo":      Read,
	"/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": Read,
}

// routes is what each route of the HTTP port is, in the form of http.ServeMux. It does not change.
var routes = map[string]Action{
	"/healthz":      Probe,
	"/readyz":       Probe,
	"/{$}":          Read,
	"/openapi.json": Read,
	"/metrics":      Read,
	"/trust/":       Fetch,
	"/v1/":          ByMethod,
	"/v2/":          ByRegistry,
}

// RegistryRoute is what a request to the registry (/v2/) is about.
type RegistryRoute string

// The routes of the registry.
const (
	// RegistryBase is /v2/ itself, by which clients find out whether they may come in.
	RegistryBase RegistryRoute = "base"
	// RegistryModules are the modules for nodes, /v2/waft/modules/.
	RegistryModules RegistryRoute = "modules"
	// RegistryFetched are the images from other registries, /v2/waft/fetched/.
	RegistryFetched RegistryRoute = "fetched"
	// RegistryCatalog is the list of repositories.
	RegistryCatalog RegistryRoute = "catalog"
	// RegistryRepository are the manifests, tags and blobs of a repository, and RegistryUpload what is being uploaded to one.
	RegistryRepository RegistryRoute = "repository"
	RegistryUpload     RegistryRoute = "upload"
	// RegistryOther is what the registry has no route for: it says so to who may read.
	RegistryOther RegistryRoute = "other"
)

// RegistryRoutes are all of them.
func RegistryRoutes() []RegistryRoute {
	return []RegistryRoute{RegistryBase, RegistryModules, RegistryFetched, RegistryCatalog, RegistryRepository, RegistryUpload, RegistryOther}
}

// OfRegistry is what a request to the registry is, by its route and its HTTP method.
func OfRegistry(route RegistryRoute, method string) Action {
	reads := method == "GET" || method == "HEAD"
	switch route {
	case RegistryBase, RegistryModules:
		if reads {
			return Fetch
		}
	case RegistryFetched, RegistryCatalog, RegistryOther:
		if reads {
			return Read
		}
	case RegistryRepository:
		if reads {
			return Read
		}
		return Push
	case RegistryUpload:
		return Push
	}
	return ""
}
