//! The least that a wasm filter can be: it looks at the headers of both ways and lets everything pass.
//! What it adds to Envoy is the price of wasm itself; it decides nothing and must never stand before a tool.
#![cfg(target_family = "wasm")]

use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::{Action, LogLevel};

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Warn);
    proxy_wasm::set_http_context(|_, _| Box::new(Pass));
}}

struct Pass;

// === impl Pass ===

impl Context for Pass {}

impl HttpContext for Pass {
    fn on_http_request_headers(&mut self, _: usize, _: bool) -> Action {
        // Read, as any filter would: the copy out of Envoy is part of the price.
        let _read = self.get_http_request_headers_bytes();
        Action::Continue
    }

    fn on_http_response_headers(&mut self, _: usize, _: bool) -> Action {
        let _read = self.get_http_response_headers_bytes();
        Action::Continue
    }
}
