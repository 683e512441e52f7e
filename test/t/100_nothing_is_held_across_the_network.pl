# While a request is on the wire, the worker holds no transaction, no snapshot and no lock, and its state can be queried.
use FindBin;
use lib "$FindBin::RealBin/../support";
use Wee5Cron::Test;

my $receiver = Wee5Cron::Receiver->start(secret => 'the secret');
my $node = Wee5Cron::Node->start_new('main');
$node->install('postgres', api_url => $receiver->url, secret => 'the secret');

my $id  = $node->call('postgres', '/hang');
my ($request) = $receiver->wait_for_requests('/hang');
my $row = $node->invocation_when('postgres', $id, "status = 'sending'");
fields_are($row, { attempts => 1, first_sent_at => qr/./, finished_at => undef, http_status => undef, url => $receiver->url . '/hang' },
    'the row of a call on the wire says sending');

my $pid = $node->wait_for_worker('postgres');
fields_are(
    $node->one_row('postgres', "SELECT * FROM pg_stat_activity WHERE pid = $pid"),
    { backend_xmin => undef, backend_xid => undef, xact_start => undef, backend_type => 'wee5_cron worker', datname => 'postgres' },
    'the worker holds no transaction and no snapshot while a request is on the wire');
is($node->safe_psql('postgres', "SELECT count(*) FROM pg_locks WHERE pid = $pid AND locktype <> 'virtualxid'"), 0, 'the worker holds no lock while a request is on the wire');
fields_are($node->one_row('postgres', "SELECT *, clock_timestamp() > started_at AS sane FROM wee5_cron.worker WHERE datname = 'postgres'"),
    { state => 'sending', in_flight => 1, queued => 0, pid => $pid, sane => 1 }, 'the view worker shows one call on the wire');

# Other calls, even of the same path, do not wait for it.
my @others = map { $node->call('postgres', $_) } qw(/status/200 /status/500 /hang?second);
is($node->finished('postgres', $others[0])->{status}, 'succeeded', 'a call does not wait for one that hangs');
is($node->finished('postgres', $others[1])->{status}, 'failed',    'a failing call does not wait for one that hangs');
$receiver->wait_for_requests('/hang', 2);
pass('a call does not wait for one of the same path that hangs');

is($node->error_of('postgres', "SET lock_timeout = '5 s'; BEGIN; LOCK TABLE wee5_cron.invocation; ROLLBACK"), undef,
    'the ledger can be locked exclusively while a request is on the wire');
# A locked ledger does not turn an answer into a timeout, and no answer is lost.
my $lock = $node->background_psql('postgres');
my $slow = $node->call('postgres', '/slow?ms=200', "timeout => '10 s'");
$receiver->wait_for_requests('/slow');
$lock->query_safe('BEGIN; LOCK TABLE wee5_cron.invocation IN ACCESS EXCLUSIVE MODE');
ok($node->poll_query_until('postgres', "SELECT state = 'blocked' FROM wee5_cron.worker_slots() WHERE pid = $pid"),
    'the view worker says blocked while the ledger is locked');
$receiver->release_for_good;
$lock->query_safe('COMMIT');
$lock->quit;
$node->wait_until_all_finished('postgres');
fields_are($node->invocation('postgres', $slow), { status => 'succeeded', http_status => 200 }, 'an answer that came meanwhile is recorded when the lock is released');
fields_are($node->invocation('postgres', $id),   { status => 'succeeded', attempts => 1 }, 'the call that hung is recorded too, after one attempt');
is(scalar(my @hangs = $receiver->requests('/hang')), 2, 'no request was sent twice');

# The counters of the view.
ok($node->poll_query_until('postgres', <<"SQL"), 'the view worker counts calls');
SELECT in_flight = 0 AND queued = 0 AND sent = 5 AND succeeded = 4 AND failed = 1 AND pid = $pid
FROM wee5_cron.worker WHERE datname = 'postgres'
SQL

# The worker's writes reach the statistics that autovacuum reads.
ok($node->poll_query_until('postgres', "SELECT n_tup_upd > 0 FROM pg_stat_user_tables WHERE relid = 'wee5_cron.invocation'::regclass"),
    "the worker reports its writes to Postgres's statistics");

$node->log_is_sane;
done_testing();
