# With synchronous_commit = off, a transaction ends before it is on disk, and a crash may undo it. A call of such a
# transaction is sent only when that can no longer happen: after every crash, the ledger has each call that was delivered.
use FindBin;
use lib "$FindBin::RealBin/../support";
use Wee5Cron::Test;
use Wee5Cron::Audit;

my $receiver = Wee5Cron::Receiver->start(secret => 'the secret');
# No other process writes the WAL in the background.
my $node = Wee5Cron::Node->start_new('main', conf => <<'CONF');
restart_after_crash = on
wal_writer_delay = 10s
wal_writer_flush_after = 1GB
autovacuum = off
wee5_cron.max_in_flight = 200
CONF
$node->install('postgres', api_url => $receiver->url, secret => 'the secret');

my $audit = Wee5Cron::Audit->new($node, 'postgres', $receiver);
my $before = 0;
for my $round (1 .. 8) {
    $receiver->hold;
    # The crash comes when the first of them arrives.
    $node->safe_psql('postgres', 'SET synchronous_commit = off; SELECT count(x) FROM (' . $audit->calls(20, "round-$round") . ') q(x)');
    $audit->wait_for_wire(1, $before);
    my $worker = $node->worker_pid('postgres');
    kill 'KILL', $worker;
    $node->poll_query_until('postgres', 'SELECT NOT pg_is_in_recovery()') or die "the server did not come back\n";
    $node->wait_for_worker('postgres', $worker);
    $audit->may_repeat(map { $_->{key} } $audit->deliveries);
    $receiver->release_for_good;
    $node->wait_until_all_finished('postgres');
    $before = $audit->deliveries;
}
$audit->nothing_is_lost('calls of transactions that were not on disk before a crash');
cmp_ok($audit->repeats, '>=', 8, 'each crash repeats some call that was on the wire');

# While the worker is stopped, no process has a reason to flush their WAL: the crash undoes these calls.
$receiver->hold;
my $undone = Wee5Cron::Audit->new($node, 'postgres', $receiver);
$undone->commit_calls(200);
$undone->wait_for_wire(200);
my $worker     = $node->worker_pid('postgres');
my $log_writer = $node->safe_psql('postgres', "SELECT pid FROM pg_stat_activity WHERE backend_type = 'walwriter'");
# Both sleep when they are stopped. A process that is stopped while it works may hold a lock that others need.
$node->poll_query_until('postgres', <<"SQL") or die "they do not come to rest\n";
SELECT (SELECT count(*) = 200 FROM wee5_cron.invocation WHERE status = 'sending')
   AND (SELECT count(*) = 2 FROM pg_stat_activity WHERE pid IN ($worker, $log_writer) AND wait_event_type IN ('Activity', 'Extension'))
SQL
kill 'STOP', $worker, $log_writer;
$node->safe_psql('postgres', 'SET synchronous_commit = off; SELECT count(x) FROM (' . $undone->calls(50, 'undone') . ') q(x)');
kill 'KILL', $worker;
kill 'CONT', $log_writer;
$node->poll_query_until('postgres', 'SELECT NOT pg_is_in_recovery()') or die "the server did not come back\n";
$node->wait_for_worker('postgres', $worker);
$receiver->release_for_good;
$undone->nothing_is_lost('a crash that undoes calls');
is($node->safe_psql('postgres', "SELECT count(*) FROM wee5_cron.invocation WHERE endpoint_path LIKE '%-undone-%'"), 0,
    '... and the undone calls have no rows');
is(scalar(grep { $_->{url} =~ /-undone-/ } $undone->deliveries), 0, '... and none of them was sent');

$node->log_is_sane;
done_testing();
