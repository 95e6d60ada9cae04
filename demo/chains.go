package demo

// requestsStat is a metric that the configuration of the filter metrics defines, as Envoy's statistics show it.
const requestsStat = "wasmcustom.demo_requests"

// firstRelease is the three shipped filters.
func (d *run) firstRelease() []object {
	return []object{d.authz(), d.headers("1.0.0", "1"), d.metrics()}
}

// secondRelease has a changed module and a changed configuration of one filter.
func (d *run) secondRelease() []object {
	return []object{d.authz(), d.headers("2.0.0", "2"), d.metrics()}
}

// failingRelease loads, and then fails every third request that got past authz.
func (d *run) failingRelease() []object {
	return []object{
		d.authz(), d.headers("2.0.0", "3"), d.metrics(),
		filterOf("failing", d.ref("failing", "1.0.0"), "", object{"every": 3}),
	}
}

// unloadableRelease has a filter that no Envoy can load.
func (d *run) unloadableRelease() []object {
	return []object{
		d.authz(), d.headers("2.0.0", "4"), d.metrics(),
		filterOf("unloadable", d.ref("unloadable", "1.0.0"), "", object{}),
	}
}

// authz lets admins into /admin and anybody with a token elsewhere.
func (d *run) authz() object {
	return filterOf("authz", d.ref("authz", "1.0.0"), "AUTHN", object{
		"issuer": issuer,
		"jwks":   d.signer.jwks,
		"rules":  []object{{"path": "/admin", "roles": []string{"admin"}}, {"path": "/"}},
	})
}

// headers tells the upstream the path, hides what it runs on, and says which release an answer passed through.
func (d *run) headers(version, release string) object {
	return filterOf("headers", d.ref("headers", version), "", object{
		"request": []object{{"op": "set", "name": "x-demo-path", "value": "%REQ(:path)%"}},
		"response": []object{
			{"op": "remove", "name": "x-powered-by"},
			{"op": "set", "name": releaseHeader, "value": release},
		},
	})
}

// metrics counts requests by the class of their status.
func (d *run) metrics() object {
	return filterOf("metrics", d.ref("metrics", "1.0.0"), "STATS", object{
		"metrics": []object{{"name": "demo_requests", "type": "counter", "tags": []object{{"name": "class", "from": "codeClass"}}}},
	})
}
