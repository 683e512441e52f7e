# 5,000 calls are queued and 200 are on the wire when the app goes away, until each of them has been tried more than once.
# When it is back, all of them are delivered and recorded once. Calls that were on the wire are repeated only if the policy
# says so.
use FindBin;
use lib "$FindBin::RealBin/../support";
use Wee5Cron::Test;
use Wee5Cron::Audit;

my $receiver = Wee5Cron::Receiver->start(secret => 'the secret');
my $other    = Wee5Cron::Receiver->start(secret => 'the secret');
my $node = Wee5Cron::Node->start_new('main', conf => 'wee5_cron.max_in_flight = 200');
$node->install('postgres', api_url => $receiver->url, secret => 'the secret');
$node->install('beside',   api_url => $other->url,    secret => 'the secret');

# By the default policy this would take a minute. Here the app is away for more attempts than that instead.
$node->policy('postgres', '/hang', retry_on => 'transient', retry_delays => '{1s}', max_attempts => 1000);
my $audit = Wee5Cron::Audit->new($node, 'postgres', $receiver);
$audit->commit_calls(5_200);
$audit->roll_back_calls(100);
$audit->wait_for_wire(200);
my $pid = $node->worker_pid('postgres');

$receiver->close_port;
ok($node->poll_query_until('postgres', 'SELECT count(*) = 5200 FROM wee5_cron.invocation WHERE attempts >= 2'),
    'while the app is away every call is tried more than once')
    or diag explain [ $node->rows('postgres', <<'SQL') ];
SELECT status, attempts, reason, error, count(*), min(next_attempt_at - now()) AS due_in
FROM wee5_cron.invocation WHERE attempts < 2 GROUP BY 1, 2, 3, 4
SQL
is_deeply(
    [ map { "$_->{reason} $_->{n}" } $node->rows('postgres', <<'SQL') ], [ 'connect 5000', 'response 200' ],
SELECT reason, count(*)::int AS n FROM wee5_cron.attempt WHERE attempt = 1 GROUP BY reason ORDER BY reason
SQL
    '... and calls on the wire lost their connection, while the others got none');
fields_are($node->finished('beside', $node->call('beside', '/beside')), { status => 'succeeded' }, '... and a call of another database succeeds');
is($node->safe_psql('postgres', 'SELECT count(*) FROM wee5_cron.invocation WHERE finished_at IS NOT NULL'), 0, '... and no call is given up');
$receiver->release_for_good;
$receiver->open_port;
$audit->nothing_is_lost('the app is back');
is($audit->repeats, 200, '... and the 200 calls on the wire are sent again, as their policy says');
is($node->worker_pid('postgres'), $pid, '... and the worker is still the same');
is($node->safe_psql('postgres', <<'SQL'), 0, '... and attempts are numbered without a gap, up to the count in the ledger');
SELECT count(*) FROM wee5_cron.invocation i
WHERE (SELECT array_agg(a.attempt ORDER BY a.attempt) FROM wee5_cron.attempt a WHERE a.invocation_id = i.id)
      IS DISTINCT FROM (SELECT array_agg(n) FROM generate_series(1, i.attempts) n)
SQL

# By default, the app may have processed the calls on the wire. They are not repeated, and their rows say why.
$receiver->hold;
$node->policy('postgres', '/careful/hang', retry_delays => '{1s}', max_attempts => 1000);
my $seen = () = $receiver->requests('/careful/hang');
$node->safe_psql('postgres', "SELECT count(invoke_cron_endpoint('/careful/hang')) FROM generate_series(1, 300)");
$receiver->wait_for_requests('/careful/hang', $seen + 200);
$receiver->close_port;
ok($node->poll_query_until('postgres', "SELECT count(*) = 300 FROM wee5_cron.invocation WHERE endpoint_path = '/careful/hang' AND (attempts >= 2 OR finished_at IS NOT NULL)"),
    'the app is away again while calls with the default policy are on the wire');
$receiver->release_for_good;
$receiver->open_port;
$node->wait_until_all_finished('postgres');
is_deeply(
    [ map { "$_->{status} $_->{reason} $_->{n}" } $node->rows('postgres', <<'SQL') ], [ 'failed response 200', 'succeeded - 100' ],
SELECT status, coalesce(reason, '-') AS reason, count(*)::int AS n
FROM wee5_cron.invocation WHERE endpoint_path = '/careful/hang' GROUP BY 1, 2 ORDER BY 1, 2
SQL
    '... and calls on the wire fail, while all others succeed');
my @careful = $receiver->requests('/careful/hang');
my %keys = map { $_->{headers}{'idempotency-key'} => 1 } @careful;
is(scalar(@careful), 300, '... and no call is sent twice');
is(scalar(keys %keys), 300, '... and every call is sent');

$node->log_is_sane;
done_testing();
