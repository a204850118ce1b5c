//! Tables of the documents against the code that they tell of.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use reqwest::StatusCode;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

pub(crate) fn file(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Every file of the program's source.
pub(crate) fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    entries.flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] }).collect()
}

/// The texts between backquotes.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// The cells of each row of a table.
fn rows(text: &str) -> impl Iterator<Item = Vec<&str>> {
    text.lines().filter_map(|line| line.strip_prefix("| ")).map(|row| row.split(" | ").collect())
}

/// Codes with their statuses, as the program's one table has them: lines `Name = "code", STATUS, "title";`.
fn codes() -> BTreeMap<String, u16> {
    let statuses = (100..600).filter_map(|status| StatusCode::from_u16(status).ok());
    let numbers: BTreeMap<String, u16> = statuses
        .filter_map(|status| Some((status.canonical_reason()?.to_uppercase().replace([' ', '-'], "_"), status.as_u16())))
        .collect();
    let source = file("src/http/problem.rs");
    let table = source.split_once("\ncodes! {\n").expect("a table").1.split_once("\n}").expect("its end").0;
    let row = |line: &str| {
        let (code, rest) = line.split_once(" = \"")?.1.split_once("\", ")?;
        Some((code.to_owned(), numbers[rest.split_once(',')?.0]))
    };
    table.lines().map(|line| row(line).unwrap_or_else(|| panic!("{line}"))).collect()
}

#[test]
fn the_api_page_has_every_code_of_an_error_once_with_its_status() {
    let page = file("docs/API.md");
    let table = page.split_once("| status | codes |\n").expect("a table").1.split_once("\n\n").expect("its end").0;
    let (codes, mut told) = (codes(), BTreeSet::new());
    for row in rows(table) {
        let statuses: BTreeSet<u16> = row[0].split(", ").map(|status| status.parse().expect(status)).collect();
        for code in quoted(row[1]).filter(|code| *code != "Retry-After") {
            assert!(codes.get(code).is_some_and(|status| statuses.contains(status)), "{code}: {:?}", codes.get(code));
            assert!(told.insert(code.to_owned()), "{code} twice");
        }
    }
    assert_eq!(told, codes.into_keys().collect());
}

#[test]
fn the_metrics_page_has_every_metric_with_its_type_and_no_other() {
    let mut used = BTreeSet::new();
    for path in sources(&root().join("src")) {
        let source = fs::read_to_string(&path).expect("text");
        for kind in ["counter", "gauge", "histogram"] {
            for call in source.split(&format!("{kind}!(")).skip(1) {
                let name = call.trim_start().strip_prefix('"').and_then(|rest| rest.split_once('"'));
                let name = name.unwrap_or_else(|| panic!("{}: a {kind} without a literal name", path.display())).0;
                used.insert((name.to_owned(), kind.to_owned()));
            }
        }
    }
    let page = file("docs/METRICS.md");
    let told = rows(&page).filter_map(|row| Some((quoted(row[0]).next()?.to_owned(), row[1].to_owned())));
    assert_eq!(told.collect::<BTreeSet<_>>(), used);
}
