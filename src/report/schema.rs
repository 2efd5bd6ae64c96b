//! `--schema`: the JSON Schema of `--json` and of a line of `--events`, generated from the types that write them.

use std::io::{self, Write};

use schemars::generate::SchemaSettings;
use serde_json::{Value, json};

use super::model::{EventLine, Report};

/// The schema as a value: the document's, with that of an event line under `$defs.EventLine`.
#[must_use]
pub fn schema() -> Value {
    let mut generator = SchemaSettings::draft2020_12().for_serialize().into_generator();
    generator.subschema_for::<EventLine<'_>>();
    let mut root = generator.into_root_schema_for::<Report<'_>>().to_value();
    root["$id"] = json!(super::model::SCHEMA);
    root["properties"]["schema"] = json!({ "const": super::model::SCHEMA });
    root
}

/// Writes the schema, indented.
///
/// # Errors
/// What `out` says.
pub fn write(out: &mut impl Write) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, &schema())?;
    out.write_all(b"\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Event, EventKind};
    use crate::packet::{SECOND, Time};
    use crate::sample;
    use crate::summary::{End, Side};

    /// Checks `value` against the parts of JSON Schema that the generated schemas use. Stricter in one point: a key that
    /// no schema names is an error, so that nothing is written that `--schema` does not tell of.
    fn check(root: &Value, schema: &Value, value: &Value, place: &str) -> Result<(), String> {
        let mut known = Vec::new();
        validate(root, schema, value, place, &mut known)?;
        let unknown = value.as_object().and_then(|object| object.keys().find(|key| !known.contains(key)));
        unknown.map_or(Ok(()), |key| Err(format!("{place}: the schema knows no {key}")))
    }

    fn validate(
        root: &Value,
        schema: &Value,
        value: &Value,
        place: &str,
        known: &mut Vec<String>,
    ) -> Result<(), String> {
        if schema == &Value::Bool(true) {
            return Ok(());
        }
        let schema = schema.as_object().ok_or(format!("{place}: no schema"))?;
        for (word, rule) in schema {
            let holds = match word.as_str() {
                "$ref" => {
                    let target = root.pointer(rule.as_str().unwrap().trim_start_matches('#')).ok_or("dangling $ref")?;
                    validate(root, target, value, place, known)?;
                    true
                }
                "type" => match rule {
                    Value::Array(types) => types.iter().any(|t| has_type(value, t)),
                    one => has_type(value, one),
                },
                "const" => value == rule,
                "enum" => rule.as_array().unwrap().contains(value),
                "minimum" => value.as_f64().is_none_or(|v| v >= rule.as_f64().unwrap()),
                "maximum" => value.as_f64().is_none_or(|v| v <= rule.as_f64().unwrap()),
                "anyOf" | "oneOf" => {
                    let mut why = Vec::new();
                    let fits = rule.as_array().unwrap().iter().find(|option| {
                        let mut names = Vec::new();
                        let result = validate(root, option, value, place, &mut names);
                        let fits = result.is_ok();
                        if fits {
                            known.append(&mut names)
                        } else {
                            why.extend(result.err())
                        }
                        fits
                    });
                    if fits.is_none() {
                        return Err(format!("{place}: none of {word}: {why:?}"));
                    }
                    true
                }
                "allOf" => {
                    rule.as_array().unwrap().iter().try_for_each(|part| validate(root, part, value, place, known))?;
                    true
                }
                "required" => rule.as_array().unwrap().iter().all(|key| value.get(key.as_str().unwrap()).is_some()),
                "properties" => {
                    for (key, schema) in rule.as_object().unwrap() {
                        known.push(key.clone());
                        if let Some(member) = value.get(key) {
                            check(root, schema, member, &format!("{place}.{key}"))?;
                        }
                    }
                    true
                }
                "items" => value.as_array().is_none_or(|items| {
                    items.iter().enumerate().all(|(i, item)| {
                        check(root, rule, item, &format!("{place}[{i}]")).map_err(|e| panic!("{e}")).is_ok()
                    })
                }),
                "description" | "examples" | "title" | "format" | "$schema" | "$id" | "$defs" | "maxItems"
                | "minItems" => true,
                other => return Err(format!("{place}: the test knows no {other}")),
            };
            if !holds {
                return Err(format!("{place}: {word} {rule} does not hold for {value}"));
            }
        }
        Ok(())
    }

    fn has_type(value: &Value, name: &Value) -> bool {
        match name.as_str().unwrap() {
            "null" => value.is_null(),
            "boolean" => value.is_boolean(),
            "string" => value.is_string(),
            "number" => value.is_number(),
            "integer" => value.is_u64() || value.is_i64(),
            "array" => value.is_array(),
            "object" => value.is_object(),
            _ => false,
        }
    }

    #[test]
    fn what_is_written_is_what_the_schema_says() {
        let (mut analysis, info) = sample::analysis();
        let mut flows: Vec<_> = analysis.flows.iter().collect();
        flows[0].keepalive[Side::Server] = Some(sample::probes());
        flows[0].sockets[Side::Client] = Some(Box::new(sample::socket(true)));
        analysis.flows = flows.into();
        let mut out = Vec::new();
        crate::report::json::write(&mut out, &analysis, &info).unwrap();
        let document: Value = serde_json::from_slice(&out).unwrap();
        let schema = schema();
        check(&schema, &schema, &document, "report").unwrap();

        let mut broken = document.clone();
        broken["flows"][0].as_object_mut().unwrap().remove("rtt_s");
        assert!(
            std::panic::catch_unwind(|| check(&schema, &schema, &broken, "report")).is_err(),
            "a missing key passes"
        );
    }

    #[test]
    fn every_event_is_what_the_schema_says() {
        let flow = sample::dead();
        let ends = flow.ends;
        let kinds = [
            EventKind::FlowStart { ends },
            EventKind::FlowEnd(End::DeadPeer),
            EventKind::KeepaliveProbe { probe_len: 1 },
            EventKind::KeepaliveAck { rtt: SECOND },
            EventKind::ZeroWindowProbe,
            EventKind::ZeroWindowAck,
            EventKind::Retransmission,
            EventKind::Heartbeat { protocol: Some("mqtt"), interval: Some(SECOND) },
            EventKind::HeartbeatReply { protocol: None },
            EventKind::HeartbeatMissed { protocol: None },
            EventKind::PeerDead { ends, death: Box::new(flow.deaths[0].clone()) },
        ];
        let root = schema();
        for kind in kinds {
            let event = Event { time: Time(0), frame: None, flow: 7, from: None, kind };
            let mut line = Vec::new();
            let mut lines = crate::report::events::Lines::new(&mut line);
            lines.tell(&event).unwrap();
            lines.flush().unwrap();
            let line: Value = serde_json::from_slice(&line).unwrap();
            check(&root, &root["$defs"]["EventLine"], &line, "event").unwrap();
        }
    }

    #[test]
    fn nothing_may_be_missing() {
        // An unknown is null, so a key that is absent is an error: every property of every object is required.
        let schema = schema();
        let definitions = schema["$defs"].as_object().unwrap().values().chain([&schema]);
        for object in definitions.filter(|d| d.get("properties").is_some()) {
            for key in object["properties"].as_object().unwrap().keys() {
                let required = object["required"].as_array().unwrap();
                assert!(required.iter().any(|r| r == key), "{key} of {} is optional", object["description"]);
            }
        }
    }
}
