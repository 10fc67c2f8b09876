//! Chrome trace events (the JSON that Perfetto and chrome://tracing open): one row for repetitions, one for their parts, a counter of slices.

use crate::measure::{Measurement, PARTS};
use radnet::Result;
use radnet::report::result::to_json;
use serde_json::{Value, json};

/// Times are in microseconds, as the format wants them.
pub(crate) fn chrome(measurement: &Measurement) -> Result<Vec<u8>> {
    let mut events = vec![row_name(1, "scans"), row_name(2, "parts")];
    for (number, repetition) in measurement.repetitions.iter().enumerate() {
        events.push(span(1, &format!("scan {number}"), repetition.start, repetition.total));
        let mut at = repetition.start;
        for (name, length) in PARTS.iter().zip(repetition.parts) {
            if length > 0.0 {
                events.push(span(2, name, at, length));
            }
            at += length;
        }
        for (at, done) in &repetition.slices_done {
            events.push(json!({"ph": "C", "name": "slices done", "pid": 1, "tid": 0, "ts": at * 1e3, "args": {"slices": done}}));
        }
    }
    to_json(&json!({"displayTimeUnit": "ms", "traceEvents": events}))
}

fn span(row: u32, name: &str, start_ms: f64, length_ms: f64) -> Value {
    json!({"ph": "X", "name": name, "pid": 1, "tid": row, "ts": start_ms * 1e3, "dur": length_ms * 1e3})
}

fn row_name(row: u32, name: &str) -> Value {
    json!({"ph": "M", "name": "thread_name", "pid": 1, "tid": row, "args": {"name": name}})
}
