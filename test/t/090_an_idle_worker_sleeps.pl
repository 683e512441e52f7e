# With nothing to do, neither worker nor launcher wakes up. They wake at once when there is something to do.
use FindBin;
use lib "$FindBin::RealBin/../support";
use Wee5Cron::Test;

plan skip_all => 'no /proc here' unless -r '/proc/self/status';

my $receiver = Wee5Cron::Receiver->start(secret => 'the secret');
my $node = Wee5Cron::Node->start_new('main', conf => "autovacuum = off\ncheckpoint_timeout = '1h'\nmax_prepared_transactions = 5");
$node->install('postgres', api_url => $receiver->url, secret => 'the secret');

my %pid = map { $_->{backend_type} => $_->{pid} }
  $node->rows('postgres', "SELECT backend_type, pid FROM pg_stat_activity WHERE backend_type LIKE 'wee5_cron%'");
is_deeply([ sort keys %pid ], [ 'wee5_cron launcher', 'wee5_cron worker' ], 'a launcher and a worker run');

# How many times a process was scheduled. While it sleeps, the number does not change.
sub switches {
    my ($pid) = @_;
    my $status = slurp_file("/proc/$pid/status");
    my $sum = 0;
    $sum += $_ for $status =~ /ctxt_switches:\s+(\d+)/g;
    return $sum;
}

# True if no process woke up for that many seconds.
sub asleep_for {
    my ($seconds) = @_;
    my %before = map { $_ => switches($pid{$_}) } keys %pid;
    select undef, undef, undef, $seconds;
    my @awake = grep { switches($pid{$_}) != $before{$_} } keys %pid;
    note("awake: @awake") if @awake;
    return !@awake;
}

for my $work ('nothing', 'a call', 'many calls', 'a policy with a time to keep, while all other calls are kept for ever', 'a call that was prepared') {
    $node->finished('postgres', $node->call('postgres', '/one')) if $work eq 'a call';
    $node->safe_psql('postgres', "SELECT count(invoke_cron_endpoint('/many/' || n)) FROM generate_series(1, 500) n")
      if $work eq 'many calls';
    if ($work =~ /retention/) {
        $node->set_server("wee5_cron.$_", -1) for 'keep_succeeded', 'keep_failed';
        $node->policy('postgres', '/brief', keep_succeeded => '1 hour');
        $node->finished('postgres', $node->call('postgres', '/brief'));
    }
    $node->safe_psql('postgres', "BEGIN; SELECT invoke_cron_endpoint('/prepared'); PREPARE TRANSACTION 'later'") if $work =~ /prepared/;
    $node->wait_until_all_finished('postgres');
    fields_are($node->one_row('postgres', "SELECT * FROM wee5_cron.worker WHERE datname = 'postgres'"),
        { state => 'idle', in_flight => 0, queued => 0 }, "after $work: the view worker says idle")
      if $node->poll_query_until('postgres', "SELECT state = 'idle' FROM wee5_cron.worker WHERE datname = 'postgres'");
    # Some work follows later: statistics, and within a second one more look at the ledger. Then everything is quiet.
    my $rounds = 10;
    until (asleep_for(1.5) || !$rounds--) { }
    ok(asleep_for(3), "after $work: no process wakes up for three seconds");
}

# Now only the statement itself can wake it.
is(scalar(my @early = $receiver->requests('/prepared')), 0, 'a prepared call is not sent');
$node->safe_psql('postgres', "COMMIT PREPARED 'later'");
$receiver->wait_for_requests('/prepared');
pass('COMMIT PREPARED wakes a sleeping worker');

my $quick = $node->call('postgres', '/after-sleep');
is($node->finished('postgres', $quick)->{status}, 'succeeded', 'a call wakes a sleeping worker');

done_testing();
