//! The host's functions, checked: a status that is not Ok is an error, whatever its number. It refuses to panic, where
//! the SDK does in some fifty places (and on a number that its enum lacks, is undefined).
#![expect(
    unsafe_code,
    reason = "functions of another machine can only be called so; each block passes pointers to what it borrows"
)]

use std::ptr::{null, null_mut};

/// The host said no, by this number of proxy-wasm's `WasmResult`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct HostError(pub(super) u32);

/// What the host says of a property that is not there.
const NOT_FOUND: u32 = 1;

pub(super) type Hosted<T> = Result<T, HostError>;

#[derive(Clone, Copy, Debug)]
#[repr(u32)]
pub(super) enum Buffer {
    RequestBody = 0,
    ResponseBody = 1,
    GrpcMessage = 5,
    Configuration = 7,
}

#[derive(Clone, Copy, Debug)]
#[repr(u32)]
pub(super) enum Map {
    RequestHeaders = 0,
    RequestTrailers = 1,
    ResponseHeaders = 2,
    ResponseTrailers = 3,
}

#[derive(Clone, Copy, Debug)]
#[repr(u32)]
pub(super) enum Direction {
    Request = 0,
    Response = 1,
}

#[derive(Clone, Copy, Debug)]
#[repr(u32)]
pub(super) enum Level {
    Info = 2,
    Warn = 3,
    Error = 4,
}

const MONOTONIC: u32 = 1;
/// What the SDKs send for "no gRPC status".
const NO_GRPC_STATUS: i32 = -1;
const COUNTER: u32 = 0;

#[link(wasm_import_module = "env")]
unsafe extern "C" {
    fn proxy_log(level: u32, data: *const u8, size: usize) -> u32;
    fn proxy_set_tick_period_milliseconds(period: u32) -> u32;
    fn proxy_get_buffer_bytes(buffer: u32, start: usize, max: usize, data: *mut *mut u8, size: *mut usize) -> u32;
    fn proxy_set_buffer_bytes(buffer: u32, start: usize, size: usize, data: *const u8, length: usize) -> u32;
    fn proxy_get_header_map_pairs(map: u32, data: *mut *mut u8, size: *mut usize) -> u32;
    fn proxy_replace_header_map_value(map: u32, key: *const u8, key_size: usize, value: *const u8, value_size: usize) -> u32;
    fn proxy_remove_header_map_value(map: u32, key: *const u8, key_size: usize) -> u32;
    fn proxy_get_property(path: *const u8, path_size: usize, data: *mut *mut u8, size: *mut usize) -> u32;
    fn proxy_continue_stream(direction: u32) -> u32;
    fn proxy_close_stream(direction: u32) -> u32;
    fn proxy_send_local_response(
        status: u32,
        details: *const u8,
        details_size: usize,
        body: *const u8,
        body_size: usize,
        headers: *const u8,
        headers_size: usize,
        grpc_status: i32,
    ) -> u32;
    fn proxy_grpc_send(token: u32, data: *const u8, size: usize, end: u32) -> u32;
    fn proxy_grpc_close(token: u32) -> u32;
    fn proxy_grpc_cancel(token: u32) -> u32;
    fn proxy_set_effective_context(context: u32) -> u32;
    fn proxy_define_metric(kind: u32, name: *const u8, name_size: usize, id: *mut u32) -> u32;
    fn proxy_increment_metric(id: u32, offset: i64) -> u32;
}

#[link(wasm_import_module = "wasi_snapshot_preview1")]
unsafe extern "C" {
    fn random_get(data: *mut u8, size: usize) -> u32;
    fn clock_time_get(clock: u32, precision: u64, time: *mut u64) -> u32;
}

// === impl HostError ===

impl HostError {
    pub(super) const fn is_not_found(self) -> bool {
        self.0 == NOT_FOUND
    }
}

fn check(status: u32) -> Hosted<()> {
    if status == 0 { Ok(()) } else { Err(HostError(status)) }
}

/// Takes over what the host allocated in this VM through `proxy_on_memory_allocate`: a boxed slice of just that size.
fn owned(data: *mut u8, size: usize) -> Vec<u8> {
    // The host leaves null for nothing, and an allocation of no bytes dangles.
    if data.is_null() || size == 0 { Vec::new() } else { unsafe { Vec::from_raw_parts(data, size, size) } }
}

/// Runs a call that leaves bytes behind.
fn returned(call: impl FnOnce(*mut *mut u8, *mut usize) -> u32) -> Hosted<Vec<u8>> {
    let (mut data, mut size) = (null_mut(), 0);
    check(call(&raw mut data, &raw mut size))?;
    Ok(owned(data, size))
}

pub(super) fn log(level: Level, message: &str) {
    // A log line that the host does not take is lost; there is nowhere else to say so.
    let _ = unsafe { proxy_log(level as u32, message.as_ptr(), message.len()) };
}

pub(super) fn tick_every_ms(period: u32) -> Hosted<()> {
    check(unsafe { proxy_set_tick_period_milliseconds(period) })
}

pub(super) fn buffer(buffer: Buffer) -> Hosted<Vec<u8>> {
    returned(|data, size| unsafe { proxy_get_buffer_bytes(buffer as u32, 0, usize::MAX, data, size) })
}

/// Puts `bytes` in the place of all that the buffer holds.
pub(super) fn replace_buffer(buffer: Buffer, bytes: &[u8]) -> Hosted<()> {
    check(unsafe { proxy_set_buffer_bytes(buffer as u32, 0, usize::MAX, bytes.as_ptr(), bytes.len()) })
}

/// Every header of the map, repeated ones too, in order.
pub(super) fn headers(map: Map) -> Hosted<Vec<(Vec<u8>, Vec<u8>)>> {
    let bytes = returned(|data, size| unsafe { proxy_get_header_map_pairs(map as u32, data, size) })?;
    crate::pairs::decode(&bytes).ok_or(HostError(0))
}

pub(super) fn set_header(map: Map, key: &str, value: &str) -> Hosted<()> {
    check(unsafe { proxy_replace_header_map_value(map as u32, key.as_ptr(), key.len(), value.as_ptr(), value.len()) })
}

pub(super) fn remove_header(map: Map, key: &[u8]) -> Hosted<()> {
    check(unsafe { proxy_remove_header_map_value(map as u32, key.as_ptr(), key.len()) })
}

/// The property at `path`, its parts joined by NUL.
pub(super) fn property(path: &str) -> Hosted<Vec<u8>> {
    returned(|data, size| unsafe { proxy_get_property(path.as_ptr(), path.len(), data, size) })
}

pub(super) fn resume(direction: Direction) -> Hosted<()> {
    check(unsafe { proxy_continue_stream(direction as u32) })
}

/// Ends the exchange in both directions.
pub(super) fn reset(direction: Direction) -> Hosted<()> {
    check(unsafe { proxy_close_stream(direction as u32) })
}

pub(super) fn answer(status: u16, headers: &[(&str, &str)], body: &[u8]) -> Hosted<()> {
    let headers = crate::pairs::encode(headers).ok_or(HostError(0))?;
    check(unsafe {
        proxy_send_local_response(
            u32::from(status),
            null(),
            0,
            body.as_ptr(),
            body.len(),
            headers.as_ptr(),
            headers.len(),
            NO_GRPC_STATUS,
        )
    })
}

pub(super) fn send(token: u32, message: &[u8]) -> Hosted<()> {
    check(unsafe { proxy_grpc_send(token, message.as_ptr(), message.len(), 0) })
}

pub(super) fn close(token: u32) -> Hosted<()> {
    check(unsafe { proxy_grpc_close(token) })
}

pub(super) fn cancel(token: u32) -> Hosted<()> {
    check(unsafe { proxy_grpc_cancel(token) })
}

pub(super) fn set_effective_context(context: u32) -> Hosted<()> {
    check(unsafe { proxy_set_effective_context(context) })
}

pub(super) fn define_counter(name: &str) -> Hosted<u32> {
    let mut id = 0;
    check(unsafe { proxy_define_metric(COUNTER, name.as_ptr(), name.len(), &raw mut id) })?;
    Ok(id)
}

pub(super) fn increment(id: u32, by: u32) -> Hosted<()> {
    check(unsafe { proxy_increment_metric(id, i64::from(by)) })
}

/// From the host's cryptographic generator.
pub(super) fn random() -> Hosted<[u8; 16]> {
    let mut bytes = [0; 16];
    check(unsafe { random_get(bytes.as_mut_ptr(), bytes.len()) })?;
    Ok(bytes)
}

pub(super) fn monotonic_ns() -> Hosted<u64> {
    let mut time = 0;
    check(unsafe { clock_time_get(MONOTONIC, 1, &raw mut time) })?;
    Ok(time)
}
