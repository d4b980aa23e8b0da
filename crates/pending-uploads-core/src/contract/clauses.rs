//! The one list of the clauses.

/// The clauses of the contract, each as `module::name`, in the order in which a backend's test file
/// has them.
pub const CLAUSES: &[&str] = crate::contract_tests!(@list [names]);

/// Makes a test of each clause of the [contract](crate::contract), in modules by subject.
///
/// It takes an expression that makes the backend's [`Fixture`](crate::contract::Fixture), once for
/// each test; what the expression names must be in scope where the macro is called. The tests run
/// on a tokio runtime with several threads: the crate that calls it needs `tokio` with its
/// features `macros` and `rt-multi-thread`.
#[macro_export]
macro_rules! contract_tests {
    ($fixture:expr) => {
        $crate::contract_tests! { @list [tests $fixture] }
    };
    (@tests $fixture:expr; $($module:ident { $($clause:ident,)* })*) => {
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
    (@names; $($module:ident { $($clause:ident,)* })*) => {
        &[$($(concat!(stringify!($module), "::", stringify!($clause)),)*)*]
    };
    (@list [$($then:tt)*]) => {
        $crate::contract_tests! { @$($then)*;
            batch {
                nothing_is_visible_before_publish,
                publish_answers_the_records_in_the_order_of_the_files,
                publish_announces_the_files_in_their_order,
                a_record_carries_what_was_staged,
                get_answers_the_record_that_was_published,
                finish_answers_the_length_and_the_digest,
                a_file_of_many_bursts_is_stored_whole,
                a_file_written_in_one_piece_is_stored_whole,
                a_file_written_five_bytes_at_a_time_is_stored_whole,
                files_of_border_lengths_are_stored_whole,
                an_empty_piece_adds_nothing,
                two_batches_of_one_workspace_do_not_mix,
                a_batch_dropped_half_way_leaves_nothing_visible,
                a_batch_for_an_unknown_workspace_is_refused,
                a_refused_publish_leaves_nothing,
                what_was_staged_in_one_call_is_read_in_one_call,
            }
            misuse {
                bytes_without_an_open_file_are_refused,
                bytes_after_the_end_of_a_file_are_refused,
                an_end_without_an_open_file_is_refused,
                a_file_while_another_is_open_is_refused,
                a_publish_while_a_file_is_open_is_refused,
                a_publish_of_no_files_is_refused,
                an_empty_file_is_refused_by_its_name,
                an_empty_file_breaks_its_batch,
                a_batch_stays_broken_after_an_error,
            }
            cancellation {
                a_publish_that_is_dropped_leaves_all_or_nothing,
                a_small_publish_that_is_dropped_leaves_all_or_nothing,
                a_batch_whose_write_was_dropped_is_broken,
                an_ack_that_is_dropped_leaves_the_file_acked_or_not,
                an_append_that_is_dropped_leaves_no_gap,
                calls_that_are_dropped_disturb_nobody,
                streams_that_are_dropped_disturb_nobody,
            }
            quota {
                as_many_bytes_wait_as_the_quota_says,
                the_bytes_of_one_batch_count_together,
                as_many_files_wait_as_the_quota_says,
                each_workspace_has_a_quota_of_its_own,
                an_ack_makes_room,
                an_expiry_makes_room,
                publishes_at_once_never_overshoot_the_files,
                publishes_at_once_never_overshoot_the_bytes,
            }
            reading {
                what_is_read_has_the_digest_of_the_record,
                a_file_can_be_read_again_and_again,
                a_range_is_read_to_the_byte,
                an_opened_file_comes_with_all_its_bytes_or_with_none,
                files_that_are_opened_at_once_are_not_mixed_up,
                only_the_bytes_of_what_waits_come_with_a_record,
                every_byte_can_be_read_alone,
                a_range_past_the_end_is_refused,
                a_file_that_is_not_there_cannot_be_read,
                the_pieces_are_neither_empty_nor_large,
                a_stream_can_be_read_by_another_task,
                an_ack_ends_a_stream_with_an_error,
                an_expiry_ends_a_stream_with_an_error,
                a_sweep_ends_a_stream_with_an_error,
                readers_that_pause_keep_nobody_waiting,
                writers_that_pause_keep_nobody_waiting,
                a_fetch_is_stamped_each_time,
                reading_alone_stamps_nothing,
                a_fetch_of_an_acked_file_is_not_stamped,
                a_fetch_of_a_file_that_is_gone_is_no_error,
            }
            ack {
                the_first_ack_is_told_its_time,
                a_repeated_ack_keeps_the_first_time,
                an_acked_file_is_found_until_it_is_swept,
                the_bytes_of_an_acked_file_are_never_served,
                a_stream_opened_before_the_ack_ends_with_an_error,
                a_checked_ack_answers_the_record,
                another_digest_acks_nothing,
                of_many_checked_acks_at_once_one_is_the_first,
                files_that_are_acked_at_once_are_held_to_their_own_digests,
                only_a_file_of_ones_own_can_be_acked_with_a_digest,
                an_ack_touches_one_file_alone,
                an_ack_is_not_in_the_feed,
                a_file_that_is_not_there_cannot_be_acked,
                a_swept_file_cannot_be_acked,
            }
            expiry {
                a_files_time_begins_with_its_publication,
                a_file_is_there_until_its_last_moment,
                an_expired_file_is_not_found,
                an_expired_file_is_not_served,
                an_expired_file_is_not_listed,
                an_expired_file_cannot_be_acked,
                an_acked_file_expires_too,
            }
            long_feeds {
                a_row_behind_a_quiet_stretch_is_seen,
                the_rows_of_an_hour_are_found,
            }
            listing {
                the_list_is_what_is_still_to_be_taken,
                the_list_has_whole_records,
                the_list_is_oldest_first,
                files_of_one_moment_are_listed_by_id,
                pages_put_together_are_the_whole_list,
                acks_between_two_pages_skip_nothing,
                an_unknown_workspace_has_an_empty_list,
                a_fetched_file_stays_in_the_list,
            }
            sweep {
                a_sweep_of_nothing_is_dry,
                a_waiting_file_is_not_swept,
                an_acked_file_is_swept_after_its_retention,
                a_retention_of_nothing_sweeps_acked_files_at_once,
                what_is_kept_for_ever_keeps_nothing_else,
                an_expired_file_is_swept_and_the_feed_says_so,
                a_file_acked_and_expired_is_swept_without_a_row,
                a_sweep_leaves_what_still_waits,
                many_files_are_swept_each_once,
                stats_count_what_is_stored,
            }
            abandonment {
                what_is_staged_is_counted,
                a_dropped_batch_leaves_no_bytes,
                a_silent_batch_is_swept,
                a_swept_batch_cannot_publish,
                a_swept_batch_that_goes_on_is_refused,
                a_batch_that_pauses_within_its_lease_is_not_swept,
                bytes_that_arrive_renew_the_lease,
                signs_of_life_renew_the_lease,
                a_swept_batch_shows_no_life,
                a_published_batch_is_never_abandoned,
                what_is_staged_does_not_wait,
            }
            feed {
                append_answers_the_row_that_is_read,
                a_row_keeps_everything_that_it_says,
                a_row_keeps_what_it_leaves_unsaid,
                a_message_keeps_every_character,
                every_writer_shares_one_numbering,
                the_same_message_twice_is_two_rows,
                nothing_is_appended_for_an_unknown_workspace,
                after_a_cursor_come_the_rows_behind_it_oldest_first,
                without_a_cursor_the_newest_come_first,
                from_the_oldest_on_come_all_rows_oldest_first,
                the_oldest_rows_can_be_filtered,
                a_feed_without_rows_has_no_oldest,
                a_page_is_cut_at_its_far_end,
                a_page_of_large_bodies_ends_early_and_never_empty,
                a_poller_that_follows_its_cursor_sees_every_row,
                a_type_leaves_out_the_others,
                a_source_leaves_out_the_other,
                created_since_takes_its_own_moment_in,
                created_before_leaves_its_own_moment_out,
                filters_hold_together,
                an_unknown_cursor_is_gone,
                the_feed_of_an_unknown_workspace_is_empty,
            }
            waiting {
                a_reader_does_not_wait_for_what_is_there,
                a_message_wakes_a_waiting_reader,
                the_first_row_wakes_a_reader_of_an_empty_feed,
                the_first_row_that_matches_wakes_a_reader_of_the_oldest,
                a_reader_of_the_oldest_waits_only_for_a_first_row,
                a_published_file_wakes_a_waiting_reader,
                an_expiry_wakes_a_waiting_reader,
                one_row_wakes_every_reader,
                a_row_that_does_not_match_lets_a_reader_wait_on,
                a_reader_answers_an_empty_list_when_its_patience_is_over,
                a_reader_of_the_newest_does_not_wait,
                a_reader_that_goes_away_leaves_the_others,
                readers_that_wait_keep_nobody_waiting,
                a_reader_and_a_writer_in_step_never_miss_a_row,
            }
            pruning {
                rows_before_the_horizon_go,
                nothing_is_before_all_time,
                the_newest_row_of_each_workspace_stays,
                a_row_that_stays_keeps_those_behind_it,
                a_pruned_cursor_is_gone,
                the_oldest_row_is_the_oldest_that_is_left,
                the_numbers_go_on_after_a_prune,
                pruning_touches_no_file,
            }
            workspaces {
                only_the_first_registration_gets_a_token,
                every_registrar_may_register_a_fresh_id,
                a_mode_that_was_never_named_is_push,
                a_mode_that_is_not_named_again_is_kept,
                a_url_that_is_not_named_again_is_kept,
                a_change_is_seen_here_at_once_and_elsewhere_soon,
                the_inbound_secret_never_changes,
                only_a_push_workspace_gets_an_inbound_secret,
                no_two_workspaces_share_a_secret,
                the_same_registration_again_changes_nothing,
                a_push_workspace_without_a_url_is_unreachable,
                a_poll_workspace_polls_even_with_a_url,
                a_registration_cannot_be_changed_by_others,
                the_admin_may_change_every_registration,
                a_workspace_is_known_by_its_token,
                a_token_that_does_not_fit_is_nobodys,
                a_workspace_that_never_registered_is_unknown,
            }
            isolation {
                a_stranger_cannot_look_a_file_up,
                a_stranger_cannot_read_a_file,
                a_stranger_cannot_ack_a_file,
                a_stranger_cannot_detect_an_acked_file,
                a_stranger_cannot_mark_a_file_fetched,
                a_list_holds_ones_own_files_alone,
                a_feed_holds_ones_own_rows_alone,
                the_oldest_rows_are_ones_own_alone,
                a_cursor_of_another_workspace_is_gone,
                a_row_of_another_workspace_wakes_nobody,
                an_expiry_is_told_to_its_own_workspace_alone,
            }
            races {
                of_many_acks_at_once_one_is_the_first,
                an_ack_and_an_expiry_agree_on_who_was_first,
                acks_against_a_sweep_are_answered_once_as_the_first,
                a_polling_reader_misses_nothing_that_is_published,
                a_batch_is_seen_whole_or_not_at_all,
                rows_appended_at_once_are_numbered_without_a_gap,
                a_reader_during_an_ack_is_never_short,
                sweepers_at_once_delete_each_file_once,
                a_publish_and_the_sweep_of_its_batch_agree,
                of_first_registrations_at_once_one_gets_the_token,
                an_admin_who_registers_twice_at_once_gets_one_token,
            }
        }
    };
}
