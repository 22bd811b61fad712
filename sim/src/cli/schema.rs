//! What a scenario's file may say, as a JSON schema for editors.

use schemars::Schema;
use schemars::generate::SchemaSettings;
use schemars::transform::{RecursiveTransform, Transform as _};
use serde_json::Value;

use crate::scenario::Scenario;

/// The schema as a file.
pub fn text() -> String {
    format!("{:#}\n", scenario().as_value())
}

/// The schema of scenario files. Draft 7, which every editor's plugin for TOML reads.
pub fn scenario() -> Schema {
    let mut schema = SchemaSettings::draft07().into_generator().into_root_schema_for::<Scenario>();
    RecursiveTransform(tidy).transform(&mut schema);
    schema
}

/// Makes of a doc comment what can be read where there is no Rust around it, and says of no key that
/// it is null, which TOML has not.
fn tidy(schema: &mut Schema) {
    if schema.get("default").is_some_and(Value::is_null) {
        schema.remove("default");
    }
    if let Some(Value::String(text)) = schema.get_mut("description") {
        let lines = text.split("\n\n").map(|part| part.replace('\n', " "));
        *text = lines.collect::<Vec<_>>().join("\n\n").replace("[`", "`").replace("`]", "`");
    }
}
