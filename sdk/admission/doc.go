// Package admission decides whether a module may be published: it is loaded in the test host under each Envoy version that its manifest
// claims, and configured with the configurations of its scenarios.
//
// Flow: `waft build` collects a filter's scenario files (Collect) into NAME.scenarios.json beside the module (Scenarios.Encode), so that
// whoever has the module has its configurations, too; `waft push` reads them back (Read) and asks Admit, before it uploads anything. A
// refusal is a *Refusal, and names the Envoy, the configuration and the guest's last words.
//
// It says that a module starts, and no more: what it does with requests is for `waft test` to say, whose report can be published beside it.
//
// It must not import the registry or the distributor: what is published where is not its business.
package admission
