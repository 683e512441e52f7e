# Tests of the extension whose subject does not need the worker hold on the portable edition as well: the same files, on a server
# as a host sets it up, with the stand-in for pg_net. Test 508 runs more of them.
use FindBin;
use lib "$FindBin::RealBin/../support";
use Wee5Cron::Test fixtures => [ 'pg_net', 'supabase_vault' ];
use Wee5Cron::Editions;

Wee5Cron::Editions->pass_on_portable(
    '110_a_caller_needs_only_execute'            => 35,
    '145_the_request_fits_the_route'             => 65,
    '207_work_that_takes_long'                   => 40,
    '241_the_doctor_on_jobs'                     => 55,
    '300_failed_calls_are_made_again'            => 25,
    '320_calls_of_a_path_do_not_overlap'         => 12,
    '321_calls_for_later'                        => 25,
    '330_calls_are_retried_and_given_up_by_hand' => 20,
    '335_pg_net_retries_by_the_same_policy'      => 60,
    '336_one_bad_call_stops_no_other'            => 22,
    '337_any_answer_of_pg_net_is_recorded'       => 480,
    '356_success_that_looks_wrong'               => 38,
);
done_testing();
