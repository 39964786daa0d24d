//! The order of the crates: compares the table in docs/design.md with the crates' dependencies.

use std::collections::BTreeMap;

/// A crate and the crates of this project that it uses, in the order of the table or of `Cargo.toml`.
pub(crate) type Uses = Vec<(String, Vec<String>)>;

/// The first line of the table.
const HEAD: &str = "| crate | may use |";

/// Reads the table of crates: rows below [`HEAD`] and its ruler, of names in backquotes.
///
/// # Errors
/// The table does not exist or is empty.
pub(crate) fn parse_table(document: &str) -> Result<Uses, String> {
    let rows: Uses = document
        .lines()
        .skip_while(|line| *line != HEAD)
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .map(|line| {
            let mut cells = line.trim_matches('|').split('|').map(names);
            let crates = cells.next().unwrap_or_default().concat();
            (crates, cells.next().unwrap_or_default())
        })
        .collect();
    if rows.is_empty() { Err(format!("no table begins with {HEAD:?}")) } else { Ok(rows) }
}

/// The texts in backquotes.
fn names(cell: &str) -> Vec<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// The crates of this project among a manifest's dependencies, including those of its tests. `project` has each
/// package's name in the table.
pub(crate) fn dependencies(
    manifest: &toml::Table,
    project: &BTreeMap<String, String>,
) -> Vec<String> {
    ["dependencies", "dev-dependencies", "build-dependencies"]
        .iter()
        .filter_map(|table| manifest.get(*table)?.as_table())
        .flat_map(toml::Table::keys)
        .filter_map(|package| project.get(package).cloned())
        .collect()
}

/// The violations of the order, as sentences. Each crate may use only crates that the table grants it; the table may
/// grant only crates that are below and in use.
pub(crate) fn faults(table: &Uses, real: &Uses) -> Vec<String> {
    let place: BTreeMap<&str, usize> =
        table.iter().enumerate().map(|(place, (name, _))| (name.as_str(), place)).collect();
    let granted: BTreeMap<&str, &Vec<String>> =
        table.iter().map(|(name, uses)| (name.as_str(), uses)).collect();
    let mut faults = Vec::new();
    for (name, uses) in real {
        match granted.get(name.as_str()) {
            None => faults.push(format!("{name} is not in the table of docs/design.md")),
            Some(granted) => {
                let more = uses.iter().filter(|used| !granted.contains(used));
                faults.extend(more.map(|used| {
                    format!("{name} -> {used}: the table of docs/design.md does not allow it")
                }));
                let less = granted.iter().filter(|used| !uses.contains(used));
                faults.extend(less.map(|used| {
                    format!("{name} -> {used}: allowed by docs/design.md, but not used")
                }));
            }
        }
    }
    for (name, uses) in table {
        if !real.iter().any(|(crate_, _)| crate_ == name) {
            faults.push(format!("docs/design.md names a crate {name}, which does not exist"));
        }
        let below = |used: &&String| place.get(used.as_str()) > place.get(name.as_str());
        faults.extend(uses.iter().filter(|used| !below(used)).map(|used| {
            format!("{name} -> {used}: in docs/design.md, {used} is not below {name}")
        }));
    }
    faults
}
