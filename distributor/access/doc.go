// Package access decides who may do what with a distributor. It is asked by every port and by the service, and there is no other place in which that is
// decided.
//
// How a question flows: a port proves who asks (an Identity: a client's certificate) and looks up what the call is (an Action, by
// the tables of methods and routes). Policy.Admits says whether whoever asks may do such a thing anywhere at all; once it is known what it is about (an
// Object: a layer, a repository, a node), Policy.Decide says whether there. The policy is a file that people write (Parse, File).
//
// What always holds:
//   - What has no row in a table is allowed to nobody.
//   - What no binding gives is not given. There is no binding that takes away.
//   - A decision depends on the policy, the identity, the action, the object and the time, and on nothing else.
//   - A role in one layer is none in another.
//
// The package imports model, and nothing else of the project. Only the root package distributor, cmd and tests of the whole import it: what the
// service asks, it asks by its interface Roles.
package access
