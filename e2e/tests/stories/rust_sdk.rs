//! The Rust MCP SDK, as client and as server, in every era that it speaks: what the policy says is what its caller sees.
//! The same calls without the gate are all carried out.

use agentgate_e2e::{Broken, Doing, Edit, Mode, World, WorldPlan};
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ClientConfig, ContentBlock, ErrorData, JsonObject, ListToolsResult,
    PaginatedRequestParams, ProtocolVersion, ServerCapabilities, ServerConfig, Tool,
};
use rmcp::service::{RequestContext, RunningService};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use rmcp::{ClientHandler, ClientLifecycleMode, ClientServiceExt, RoleClient, RoleServer, ServerHandler};
use serde_json::{Value, json};
use std::borrow::Cow;
use std::net::{SocketAddr, TcpListener};
use std::thread;
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};

/// How long a client's whole visit may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Names of the demo's server, so that the default policy knows them. No table has the last one.
const TOOLS: [&str; 6] = ["list_notes", "read_note", "search_notes", "add_note", "delete_note", "no_such_tool"];

#[test]
fn rusts_client_and_server_are_gated_in_every_era() {
    let world = WorldPlan::own(|_, _| serve(true, &versions())).unwrap().start().unwrap();
    for version in versions() {
        check(&world, &version, "carried out");
    }
}

#[test]
fn rusts_server_without_sessions_is_gated_as_well() {
    let world = WorldPlan::own(|_, _| serve(false, &versions())).unwrap().start().unwrap();
    check(&world, &ProtocolVersion::V_2025_11_25, "carried out");
    check(&world, &ProtocolVersion::V_2026_07_28, "carried out");
}

#[test]
fn rusts_client_is_gated_before_pythons_server() {
    let world = World::notes().unwrap();
    for version in versions() {
        check(&world, &version, "standup: the gate goes live on Monday");
    }
}

/// Clients ask for the newest era first, as they do in the field; what they find out, they find out through the gate as well.
#[test]
fn clients_fall_back_before_a_server_of_the_session_era_alone() {
    let world = WorldPlan::own(|_, _| serve(true, &[ProtocolVersion::V_2025_11_25])).unwrap().start().unwrap();
    for client in [world.client_without_gate(Mode::Auto), world.client(Mode::Auto)] {
        assert_eq!(client.unwrap().version, "2025-11-25");
    }
    let runtime = runtime().unwrap();
    let preferred_versions = vec![ProtocolVersion::V_2026_07_28, ProtocolVersion::V_2025_11_25];
    let lifecycle = ClientLifecycleMode::Auto { preferred_versions, legacy_version: Some(ProtocolVersion::V_2025_11_25) };
    for address in [world.tool_server(), world.stack.gate] {
        let connecting = connect(address, &ProtocolVersion::V_2025_11_25, lifecycle.clone());
        let visiting = async {
            let client = connecting.await;
            let read = client.call_tool(CallToolRequestParams::new("read_note")).await.unwrap();
            let version = client.peer_info().unwrap().protocol_version.clone();
            client.cancel().await.unwrap();
            (version, text(&read))
        };
        let visit = runtime.block_on(async { tokio::time::timeout(PATIENCE, visiting).await }).unwrap();
        assert_eq!(visit, (ProtocolVersion::V_2025_11_25, "carried out".to_owned()), "{address}");
    }
}

/// The route's refusal tells a client which era to take.
#[test]
fn a_client_falls_back_where_the_route_takes_the_session_era_alone() {
    let mut plan = WorldPlan::own(|_, _| serve(true, &versions())).unwrap();
    let server = r#""server": "notes""#;
    plan.stack.edits.push(Edit::new(server, format!(r#"{server}, "versions": ["2025-11-25"]"#)));
    let world = plan.start().unwrap();
    assert_eq!(world.client_without_gate(Mode::Auto).unwrap().version, "2026-07-28");
    assert_eq!(world.client(Mode::Auto).unwrap().version, "2025-11-25");
}

fn versions() -> [ProtocolVersion; 4] {
    [ProtocolVersion::V_2025_03_26, ProtocolVersion::V_2025_06_18, ProtocolVersion::V_2025_11_25, ProtocolVersion::V_2026_07_28]
}

/// One call of every kind, through the gate and past it. `done`: what `read_note` says when it was carried out.
fn check(world: &World, version: &ProtocolVersion, done: &str) {
    let cases = [
        ("read_note", json!({"id": 2}), "allow", "tool_open"),
        ("search_notes", json!({"query": "Password list"}), "deny", "forbidden_query"),
        ("add_note", json!({"title": "a", "text": "b"}), "pending", "tool_gated"),
        ("delete_note", json!({"id": 9}), "deny", "tool_blocked"),
        ("no_such_tool", json!({}), "deny", "unknown_tool"),
    ];
    let runtime = runtime().unwrap();
    let gated = visit(&runtime, world.stack.gate, version, &cases);
    let control = visit(&runtime, world.tool_server(), version, &cases);

    assert!(!gated.shown.contains(&"delete_note".to_owned()) && gated.shown.contains(&"add_note".to_owned()), "{gated:?}");
    assert!(control.shown.contains(&"delete_note".to_owned()), "{control:?}");
    for (((tool, _, verdict, rule), answer), without) in cases.iter().zip(&gated.answers).zip(&control.answers) {
        let told = meta(answer);
        if *verdict == "allow" {
            assert_eq!((answer.is_error, text(answer).as_str(), &told), (Some(false), done, &Value::Null), "{version} {tool}");
        } else {
            assert_eq!(
                (answer.is_error, &told["verdict"], &told["rule"]),
                (Some(true), &json!(verdict), &json!(rule)),
                "{answer:?}"
            );
            assert!(!text(answer).is_empty(), "{version} {tool}: the model is told nothing");
        }
        let carried_out = without.is_error == Some(false) || *tool == "no_such_tool";
        assert!(carried_out && meta(without) == Value::Null, "without the gate: {version} {tool}: {without:?}");
    }
}

fn meta(answer: &CallToolResult) -> Value {
    answer.meta.as_ref().and_then(|meta| meta.0.get("agentgate/verdict")).cloned().unwrap_or_default()
}

fn text(answer: &CallToolResult) -> String {
    answer.content.iter().filter_map(|part| Some(part.as_text()?.text.as_str())).collect()
}

// --- the client

#[derive(Debug)]
struct Visit {
    shown: Vec<String>,
    answers: Vec<CallToolResult>,
}

/// A client that says which version it is of.
struct Caller(ProtocolVersion);

// === impl Caller ===

impl ClientHandler for Caller {
    fn get_info(&self) -> ClientConfig {
        let mut config = ClientConfig::default();
        config.protocol_version = self.0.clone();
        config
    }
}

fn visit(
    runtime: &Runtime,
    address: SocketAddr,
    version: &ProtocolVersion,
    cases: &[(&'static str, Value, &str, &str)],
) -> Visit {
    let visiting = async {
        let client = connect(address, version, lifecycle(version)).await;
        assert_eq!(&client.peer_info().unwrap().protocol_version, version);
        let shown = client.list_all_tools().await.unwrap().into_iter().map(|tool| tool.name.into_owned()).collect();
        let mut answers = Vec::new();
        for (tool, arguments, _, _) in cases {
            let call = CallToolRequestParams::new(*tool).with_arguments(arguments.as_object().unwrap().clone());
            answers.push(client.call_tool(call).await.unwrap_or_else(|error| panic!("{version} {tool} at {address}: {error}")));
        }
        client.cancel().await.unwrap();
        Visit { shown, answers }
    };
    runtime.block_on(async { tokio::time::timeout(PATIENCE, visiting).await }).unwrap()
}

async fn connect(
    address: SocketAddr,
    version: &ProtocolVersion,
    lifecycle: ClientLifecycleMode,
) -> RunningService<RoleClient, Caller> {
    let transport = StreamableHttpClientTransport::from_uri(format!("http://{address}/mcp"));
    Caller(version.clone()).serve_with_lifecycle(transport, lifecycle).await.unwrap()
}

/// The one way to come to this version.
fn lifecycle(version: &ProtocolVersion) -> ClientLifecycleMode {
    if *version >= ProtocolVersion::V_2026_07_28 {
        ClientLifecycleMode::Discover { preferred_versions: vec![version.clone()] }
    } else {
        ClientLifecycleMode::Initialize
    }
}

// --- the server

/// It carries out whatever reaches it.
#[derive(Clone)]
struct Willing {
    versions: Vec<ProtocolVersion>,
}

// === impl Willing ===

impl ServerHandler for Willing {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
    }

    fn supported_protocol_versions(&self) -> Cow<'static, [ProtocolVersion]> {
        Cow::Owned(self.versions.clone())
    }

    async fn list_tools(
        &self,
        _page: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let schema: JsonObject = json!({"type": "object"}).as_object().cloned().unwrap_or_default();
        let tools = TOOLS.iter().map(|name| Tool::new(*name, "a tool of the story's", schema.clone()));
        Ok(ListToolsResult::with_all_items(tools.collect()))
    }

    async fn call_tool(
        &self,
        _call: CallToolRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        Ok(CallToolResult::success(vec![ContentBlock::text("carried out")]).into())
    }
}

/// Serves from a thread that ends with this program; answers in events where it keeps sessions, in JSON where it keeps none.
fn serve(sessions: bool, versions: &[ProtocolVersion]) -> Result<SocketAddr, Broken> {
    let willing = Willing { versions: versions.to_vec() };
    let listener = TcpListener::bind("127.0.0.1:0").doing("a port for the Rust server")?;
    listener.set_nonblocking(true).doing("a port for the Rust server")?;
    let address = listener.local_addr().doing("a port for the Rust server")?;
    let config = StreamableHttpServerConfig::default().with_legacy_session_mode(sessions).with_json_response(!sessions);
    let runtime = runtime()?;
    thread::spawn(move || {
        runtime.block_on(async {
            let service: StreamableHttpService<Willing, LocalSessionManager> =
                StreamableHttpService::new(move || Ok(willing.clone()), std::sync::Arc::default(), config);
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            axum::serve(listener, axum::Router::new().nest_service("/mcp", service)).await.unwrap();
        });
    });
    Ok(address)
}

fn runtime() -> Result<Runtime, Broken> {
    Builder::new_current_thread().enable_all().build().doing("a runtime")
}
