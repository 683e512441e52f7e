# The planner's statistics may date from a time when the queue was empty: the index of open calls looks tiny while a long
# queue stands in it. The worker's work on a few calls must not read all of them.
use FindBin;
use lib "$FindBin::RealBin/../support";
use Wee5Cron::Test;

# This test's own queries do not count: its sessions read tables, and no indexes.
$ENV{PGOPTIONS} = join ' ', map { "-c enable_$_=off" } qw(indexscan indexonlyscan bitmapscan);

my $receiver = Wee5Cron::Receiver->start(secret => 'the secret');
my $node = Wee5Cron::Node->start_new('main', conf => "autovacuum = off\nwee5_cron.max_in_flight = 20");
$node->install('postgres', api_url => $receiver->url, secret => 'the secret');
$node->policy('postgres', '/once/hang', retry_on => 'never');
$node->safe_psql('postgres', <<'SQL');
INSERT INTO wee5_cron.invocation (endpoint_path, transport, status, http_status, attempts, finished_at)
SELECT '/before', 'builtin', 'succeeded', 200, 1, now() FROM generate_series(1, 20000);
VACUUM ANALYZE wee5_cron.invocation;
SQL

# Entries read from the index, which only the planner's choice leads to.
sub entries_read {
    return $node->safe_psql('postgres', q{SELECT idx_tup_read FROM pg_stat_user_indexes WHERE indexrelname = 'invocation_unfinished'});
}
my $before = entries_read();

# Long calls are marked, others are claimed, one is cancelled, and a user's constraint makes a statement record them.
$receiver->hold;
my $ids = $node->safe_psql('postgres', "SELECT min(id) || ' ' || max(id) FROM (SELECT invoke_cron_endpoint('/hang') AS id FROM generate_series(1, 3000)) c");
$node->safe_psql('postgres', "SELECT count(invoke_cron_endpoint('/once/hang')) FROM generate_series(1, 20)");
my ($first, $last) = split / /, $ids;
ok($node->poll_query_until('postgres', "SELECT count(*) = 20 FROM wee5_cron.invocation WHERE status = 'sending'"), 'calls on the wire are marked as sending');
is($node->safe_psql('postgres', "SELECT wee5_cron.cancel($last)"), 't', 'cancel() of a queued call returns true');
is($node->finished('postgres', $last)->{status}, 'cancelled', '... and the call ends as cancelled');
$node->safe_psql('postgres', 'ALTER TABLE wee5_cron.invocation ADD CHECK (attempts < 1000)');
$receiver->release_for_good;
$node->wait_until_all_finished('postgres');
is_deeply($node->statuses('postgres'), { succeeded => 23_019, cancelled => 1 }, 'every call has ended');
# Statistics arrive a moment later, when the worker is idle.
$node->poll_query_until('postgres', "SELECT state = 'idle' FROM wee5_cron.worker WHERE datname = 'postgres'");
$node->poll_query_until('postgres', q{SELECT n_tup_ins >= 3019 FROM pg_stat_user_tables WHERE relid = 'wee5_cron.attempt'::regclass}) or die "no statistics\n";
cmp_ok(entries_read() - $before, '<', 3_000, 'the worker never read the whole queue through that index');

$node->log_is_sane;
done_testing();
