# Tests of the extension whose subject does not need the worker hold on the portable edition as well: the same files, on a server
# as a host sets it up, with the stand-in for pg_net.
use FindBin;
use lib "$FindBin::RealBin/../support";
use Wee5Cron::Test fixtures => [ 'pg_net', 'supabase_vault' ];

my %files = (
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
    '356_success_that_looks_wrong'               => 38,
);
for my $file (sort keys %files) {
    # A directory of its own: the native run of the file may go on beside it. PostgreSQL 15 reads TESTDIR, later versions the other
    # two. Both runs take ports from one list.
    my $directory = "$PostgreSQL::Test::Utils::tmp_check/$file";
    mkdir $directory;
    local @ENV{qw(TESTDIR TESTDATADIR TESTLOGDIR)} = ($directory, "$directory/tmp_check", "$directory/tmp_check/log");
    local $ENV{PG_TEST_PORT_DIR} = $PostgreSQL::Test::Cluster::portdir;
    local $ENV{WEE5_EDITION} = 'portable';
    my @told = `'$^X' @{[ map { "'-I$_'" } @INC ]} '$FindBin::RealBin/$file.pl' 2>&1`;
    my @good = grep { /^ok / } @told;
    is($?, 0, "$file passes on the portable edition") or diag(@told);
    cmp_ok(scalar @good, '>=', $files{$file}, '... with all the tests that it shares') or diag(@told);
}
done_testing();
