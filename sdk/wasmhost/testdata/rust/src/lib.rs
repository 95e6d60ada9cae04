//! A filter in Rust: the host must run it as it runs one in Go. What it does is chosen by the request header x-do.

use log::{info, warn};
use proxy_wasm::traits::*;
use proxy_wasm::types::*;
use std::time::Duration;

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Debug);
    proxy_wasm::set_root_context(|_| -> Box<dyn RootContext> { Box::new(Root { greeting: String::new(), counter: 0 }) });
}}

struct Root {
    greeting: String,
    counter: u32,
}

impl Context for Root {}

impl RootContext for Root {
    fn on_vm_start(&mut self, _: usize) -> bool {
        self.counter = proxy_wasm::hostcalls::define_metric(MetricType::Counter, "rustfilter.requests").unwrap();
        true
    }

    fn on_configure(&mut self, _: usize) -> bool {
        let config = self.get_plugin_configuration().unwrap_or_default();
        match String::from_utf8(config) {
            Ok(s) if s != "bad" => {
                self.greeting = s;
                true
            }
            _ => {
                warn!("the configuration is bad");
                false
            }
        }
    }

    fn create_http_context(&self, _: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Stream { greeting: self.greeting.clone(), counter: self.counter, what: String::new() }))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

struct Stream {
    greeting: String,
    counter: u32,
    what: String,
}

impl Context for Stream {
    fn on_http_call_response(&mut self, _: u32, headers: usize, body_size: usize, _: usize) {
        let body = self.get_http_call_response_body(0, body_size).unwrap_or_default();
        let user = String::from_utf8_lossy(&body).to_string();
        info!("callout: {} headers, {}", headers, user);
        if self.get_http_call_response_header(":status").as_deref() != Some("200") {
            self.send_http_response(401, vec![], Some(&body));
            return;
        }
        self.set_http_request_header("x-user", Some(&user));
        self.resume_http_request();
    }
}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _: usize, _: bool) -> Action {
        proxy_wasm::hostcalls::increment_metric(self.counter, 1).unwrap();
        self.what = self.get_http_request_header("x-do").unwrap_or_default();
        match self.what.as_str() {
            "headers" => {
                self.add_http_request_header("x-added", "1");
                self.add_http_request_header("x-added", "2");
                self.set_http_request_header("x-replaced", Some("new"));
                self.set_http_request_header("x-removed", None);
            }
            "deny" => {
                self.send_http_response(403, vec![("x-why", "denied")], Some(b"no"));
                return Action::Pause;
            }
            "callout" => {
                self.dispatch_http_call(
                    "auth",
                    vec![(":method", "GET"), (":path", "/auth"), (":authority", "auth.test")],
                    None,
                    vec![],
                    Duration::from_secs(1),
                )
                .unwrap();
                return Action::Pause;
            }
            "shared" => {
                let (value, cas) = self.get_shared_data("count");
                let n: u32 = value.and_then(|v| String::from_utf8(v).ok()).and_then(|v| v.parse().ok()).unwrap_or(0);
                info!("count {}", n + 1);
                self.set_shared_data("count", Some((n + 1).to_string().as_bytes()), cas).unwrap();
            }
            "panic" => panic!("as told"),
            _ => {}
        }
        let path = self.get_property(vec!["request", "path"]).unwrap_or_default();
        info!("path {}", String::from_utf8_lossy(&path));
        Action::Continue
    }

    fn on_http_request_body(&mut self, size: usize, end: bool) -> Action {
        if self.what != "body" {
            return Action::Continue;
        }
        if !end {
            return Action::Pause;
        }
        let body = self.get_http_request_body(0, size).unwrap_or_default();
        self.set_http_request_body(0, size, &body.to_ascii_uppercase());
        Action::Continue
    }

    fn on_http_response_headers(&mut self, _: usize, _: bool) -> Action {
        self.set_http_response_header("x-greeting", Some(&self.greeting));
        Action::Continue
    }

    fn on_log(&mut self) {
        info!("log {}", self.get_http_response_header(":status").unwrap_or_default());
    }
}
