//! The schema's numbered steps, which lie in `migrations/sqlite`. Opening a folder applies those
//! that it lacks; a folder that a newer program has written is refused.

use std::error::Error;

use refinery::{Migration, Runner};
use rusqlite::{Connection, OptionalExtension};

/// The steps, in their order.
const STEPS: [(&str, &str); 4] = [
    (
        "V1__everything",
        include_str!("../../../migrations/sqlite/V1__everything.sql"),
    ),
    (
        "V2__expiry_indexes",
        include_str!("../../../migrations/sqlite/V2__expiry_indexes.sql"),
    ),
    (
        "V3__waiting_bounds",
        include_str!("../../../migrations/sqlite/V3__waiting_bounds.sql"),
    ),
    (
        "V4__bundles",
        include_str!("../../../migrations/sqlite/V4__bundles.sql"),
    ),
];

/// The newest version that this program knows.
pub(crate) const NEWEST: i64 = 4;

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

/// Applies the steps that are missing and notes them, all in one transaction: a process that is
/// killed meanwhile leaves none of them.
pub(crate) fn migrate(connection: &mut Connection) -> Result<(), refinery::Error> {
    let migrations = STEPS
        .iter()
        .map(|(name, sql)| Migration::unapplied(name, sql))
        .collect::<Result<Vec<_>, _>>()?;
    Runner::new(&migrations)
        .set_grouped(true)
        .run(connection)
        .map(drop)
}

/// What went wrong, without the text of the step in which it did.
pub(crate) fn reason(error: &refinery::Error) -> String {
    let cause = error.source().and_then(|cause| cause.downcast_ref());
    match cause {
        Some(rusqlite::Error::SqlInputError { msg, .. }) => msg.clone(),
        Some(cause) => cause.to_string(),
        None => error.to_string(),
    }
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
        for down in [
            include_str!("../../../migrations/sqlite/down/4__bundles.sql"),
            include_str!("../../../migrations/sqlite/down/3__waiting_bounds.sql"),
            include_str!("../../../migrations/sqlite/down/2__expiry_indexes.sql"),
            include_str!("../../../migrations/sqlite/down/1__everything.sql"),
        ] {
            connection.execute_batch(down).unwrap();
        }
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
    fn there_is_no_way_back_while_a_file_lies_in_a_bundle() {
        let mut connection = Connection::open_in_memory().unwrap();
        migrate(&mut connection).unwrap();
        let down = include_str!("../../../migrations/sqlite/down/4__bundles.sql");
        connection
            .execute_batch("INSERT INTO bundles VALUES (zeroblob(16), 1)")
            .unwrap();
        let attempt = format!("BEGIN; {down}; COMMIT");
        assert!(connection.execute_batch(&attempt).is_err());
        connection
            .execute_batch("ROLLBACK; DELETE FROM bundles")
            .unwrap();
        connection.execute_batch(&attempt).unwrap();
    }

    #[test]
    fn what_waits_is_counted_when_its_bound_comes() {
        let mut connection = Connection::open_in_memory().unwrap();
        migrate(&mut connection).unwrap();
        let back = concat!(
            include_str!("../../../migrations/sqlite/down/4__bundles.sql"),
            include_str!("../../../migrations/sqlite/down/3__waiting_bounds.sql")
        );
        let filling = "DELETE FROM refinery_schema_history WHERE version >= 3; \
            INSERT INTO workspaces VALUES \
                (zeroblob(16), 'poll', NULL, 's', zeroblob(32), NULL, 0, 0), \
                (x'00000000000000000000000000000001', 'poll', NULL, 's', zeroblob(32), NULL, 0, 0); \
            INSERT INTO feed_counters (workspace_id) SELECT id FROM workspaces; \
            WITH RECURSIVE file (no) AS (SELECT 1 UNION ALL SELECT no + 1 FROM file WHERE no < 3) \
                INSERT INTO pending_uploads SELECT unhex(printf('%032x', no)), zeroblob(16), 'x', \
                    'x', '', 10 * no, zeroblob(32), 'row', 0, 1, NULL, \
                    CASE WHEN no = 3 THEN 0 END FROM file";
        connection
            .execute_batch(&format!("{back};{filling}"))
            .unwrap();
        migrate(&mut connection).unwrap();
        let sql = "SELECT waiting_files, waiting_bytes FROM feed_counters ORDER BY workspace_id";
        let mut select = connection.prepare(sql).unwrap();
        let bounds = select.query_map([], |row| row.try_into()).unwrap();
        let bounds: Vec<(i64, i64)> = bounds.map(Result::unwrap).collect();
        assert_eq!(bounds, [(2, 30), (0, 0)]);
    }

    #[test]
    fn a_migration_that_is_cut_off_at_any_commit_can_be_done_again() {
        for last in 0.. {
            let mut connection = Connection::open_in_memory().unwrap();
            let mut commits = 0;
            let cut_off = move || {
                commits += 1;
                commits > last
            };
            connection.commit_hook(Some(cut_off)).unwrap();
            let migrated = migrate(&mut connection);
            connection.commit_hook(None::<fn() -> bool>).unwrap();
            if migrated.is_ok() {
                assert!(last > 0);
                return;
            }
            migrate(&mut connection).unwrap();
            assert_eq!(version(&connection).unwrap(), NEWEST);
        }
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
