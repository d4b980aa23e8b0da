//! The schema's numbered steps, which lie in `migrations/sqlite`. Opening a folder applies those
//! that it lacks; a folder that a newer program has written is refused.

use refinery::{Migration, Runner};
use rusqlite::{Connection, OptionalExtension};

/// The steps, in their order.
const STEPS: [(&str, &str); 1] = [(
    "V1__everything",
    include_str!("../../../migrations/sqlite/V1__everything.sql"),
)];

/// The newest version that this program knows.
pub(crate) const NEWEST: i64 = 1;

/// The version of the schema in a database: 0 when it is empty.
pub(crate) fn version(connection: &Connection) -> rusqlite::Result<i64> {
    let noted = connection
        .query_row(
            "SELECT 1 FROM sqlite_schema WHERE name = 'refinery_schema_history'",
            [],
            |_| Ok(()),
        )
        .optional()?;
    match noted {
        None => Ok(0),
        Some(()) => connection.query_row(
            "SELECT coalesce(max(version), 0) FROM refinery_schema_history",
            [],
            |row| row.get(0),
        ),
    }
}

/// Applies the steps that are missing.
pub(crate) fn migrate(connection: &mut Connection) -> Result<(), refinery::Error> {
    let migrations = STEPS
        .iter()
        .map(|(name, sql)| Migration::unapplied(name, sql))
        .collect::<Result<Vec<_>, _>>()?;
    Runner::new(&migrations).run(connection).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_applied_once_and_their_way_back_leaves_nothing() {
        let mut connection = Connection::open_in_memory().unwrap();
        assert_eq!(version(&connection).unwrap(), 0);
        migrate(&mut connection).unwrap();
        migrate(&mut connection).unwrap();
        assert_eq!(version(&connection).unwrap(), NEWEST);
        let down = include_str!("../../../migrations/sqlite/down/1__everything.sql");
        connection.execute_batch(down).unwrap();
        let left: i64 = connection
            .query_row(
                "SELECT count(*) FROM sqlite_schema WHERE name <> 'refinery_schema_history' \
                 AND name NOT LIKE 'sqlite_%'",
                [],
                |row| row.get(0),
            )
            .unwrap();
        assert_eq!(left, 0);
    }

    #[test]
    fn steps_are_numbered_from_one_and_every_file_is_one() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../migrations/sqlite");
        for ((name, _), number) in STEPS.iter().zip(1..=NEWEST) {
            assert!(name.starts_with(&format!("V{number}__")), "{name}");
        }
        assert_eq!(i64::try_from(STEPS.len()), Ok(NEWEST));
        let files = std::fs::read_dir(folder)
            .unwrap()
            .filter(|entry| entry.as_ref().unwrap().file_type().unwrap().is_file())
            .count();
        assert_eq!(files, STEPS.len());
    }
}
