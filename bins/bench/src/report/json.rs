//! The report as a file.

use std::fs;
use std::path::Path;

use crate::error::BenchError;
use crate::report::Report;

/// Writes it, and the folder that it lies in if that is not there.
pub(crate) fn write(report: &Report, path: &Path) -> Result<(), BenchError> {
    let failed = |source| BenchError::File {
        path: path.to_owned(),
        source,
    };
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(failed)?;
    }
    let text = serde_json::to_string_pretty(report)?;
    fs::write(path, text + "\n").map_err(failed)
}

/// Reads one that was written.
pub(crate) fn read(path: &Path) -> Result<Report, BenchError> {
    let text = fs::read_to_string(path).map_err(|source| BenchError::File {
        path: path.to_owned(),
        source,
    })?;
    serde_json::from_str(&text).map_err(|source| BenchError::Report {
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::{Figure, Figures};

    #[test]
    fn a_report_that_was_written_is_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/report.json");
        let mut figures = Figures::default();
        figures.set(Figure::ServerCpuPerTurn, 1.25);
        let mut report = Report {
            about: vec!["a machine".to_owned()],
            rows: Vec::new(),
        };
        report.add("section", "row", figures);
        write(&report, &path).unwrap();
        assert_eq!(read(&path).unwrap(), report);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains("\"server_cpu_per_turn\": 1.25"), "{text}");
    }

    #[test]
    fn another_file_is_no_report() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.json");
        fs::write(&path, "[1]").unwrap();
        assert!(matches!(read(&path), Err(BenchError::Report { .. })));
    }
}
