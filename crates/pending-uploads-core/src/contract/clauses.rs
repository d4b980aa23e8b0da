//! The one list of the clauses.

/// Makes a test of each clause of the [contract](crate::contract), in modules by subject.
///
/// It takes an expression that makes the backend's [`Fixture`](crate::contract::Fixture), and is
/// called once, at the root of a test file. The tests run on a tokio runtime with several threads:
/// the crate that calls it needs `tokio` with its features `macros` and `rt-multi-thread`.
#[macro_export]
macro_rules! contract_tests {
    ($fixture:expr) => {
        $crate::contract_tests! { @modules $fixture;
            batch {
                finish_answers_the_length_and_the_digest,
            }
        }
    };
    (@modules $fixture:expr; $($module:ident { $($clause:ident,)* })*) => {
        $(
            mod $module {
                use super::*;

                $(
                    #[tokio::test(flavor = "multi_thread")]
                    async fn $clause() {
                        let fixture = $fixture;
                        $crate::contract::hold($crate::contract::$module::$clause(&fixture)).await;
                    }
                )*
            }
        )*
    };
}
