# A session in wait_for() needs no more memory after thousands of looks, however large the call's row is, and it looks when
# its own call has ended, not whenever the worker records something.
use FindBin;
use lib "$FindBin::RealBin/../support";
use Wee5Cron::Test;

my $receiver = Wee5Cron::Receiver->start(secret => 'the secret');
my $node = Wee5Cron::Node->start_new('main');
$node->install('postgres', api_url => $receiver->url, secret => 'the secret');
$node->safe_psql('postgres', "CREATE ROLE caller LOGIN; CREATE ROLE other LOGIN; SELECT wee5_cron.grant_to('caller', 'call'), wee5_cron.grant_to('other', 'call')");

# The memory that the process has allocated for itself, in kB. Pages of shared buffers do not count.
sub memory {
    my ($pid) = @_;
    return slurp_file("/proc/$pid/status") =~ /^RssAnon:\s+(\d+) kB/m ? $1 : die "no RssAnon of $pid";
}

# Other calls end, each in its own batch.
sub others_end {
    my ($count) = @_;
    $node->safe_psql('postgres', <<"SQL");
DO \$\$
DECLARE
  id bigint;
BEGIN
  FOR i IN 1 .. $count LOOP
    id := invoke_cron_endpoint('/other');
    COMMIT;
    PERFORM wee5_cron.wait_for(id);
  END LOOP;
END \$\$;
SQL
    return;
}

# A role that may see the body, and one that may not: in both cases the session keeps nothing of it while it waits.
my $body = q{(SELECT jsonb_build_object('text', string_agg(md5(n::text), '')) FROM generate_series(1, 31000) n)};
for my $case ([ 'a call of the same role', 'caller', 990_000 ], [ 'a call of another role', 'other', 0 ]) {
    my ($name, $role, $bytes) = @$case;
    $receiver->hold;
    my $asked = () = $receiver->requests('/hang');
    my $id = $node->psql_as('caller', 'postgres', "SELECT wee5_cron.invoke('/hang', 'POST', $body, timeout => '10 min')");
    $receiver->wait_for_requests('/hang', $asked + 1);
    my $waiter = $node->background_psql('postgres', extra_params => [ '-U', $role ]);
    # A first wait, so that everything that a session needs only once is there.
    my $pid = $waiter->query_safe("SELECT pg_backend_pid() FROM wee5_cron.wait_for($id, '10 ms')");
    $waiter->query_until(qr/asked/, <<"SQL");
\\echo asked
BEGIN;
SELECT 'got ' || status || ' ' || coalesce(length(body::text) > $bytes, false) FROM wee5_cron.wait_for($id, '1 hour');
SELECT 'looks ' || idx_scan + seq_scan FROM pg_stat_xact_user_tables WHERE relid = 'wee5_cron.invocation'::regclass;
COMMIT;
\\echo done
SQL
    $node->poll_query_until('postgres', "SELECT wait_event_type = 'Extension' FROM pg_stat_activity WHERE pid = $pid") or die;
    others_end(20);
    my ($before, $began) = (memory($pid), time);
    others_end(400);
    cmp_ok(memory($pid) - $before, '<', 1_000, "$name: wait_for() takes no more memory while other calls end");
    $receiver->release_for_good;
    my $said = $waiter->query_until(qr/^done/m, '');
    like($said, $bytes ? qr/^got succeeded true$/m : qr/^got succeeded false$/m, '... and it returns the row');
    my ($looks) = $said =~ /^looks (\d+)$/m;
    # By itself it looks twice a second: one index scan for the row, one for whether its own transaction made the call.
    cmp_ok($looks, '<=', 2 * (time - $began + 10) + 40, '... after it has looked only at its own call');
    $waiter->quit;
}

# wait_for() is woken when its call has ended, in whatever way, and within half a second.
$receiver->hold;
my $hanging = $node->block_the_wire('postgres', $receiver);
my $waits = sub {
    my ($id, $end, $status) = @_;
    my $waiter = $node->background_psql('postgres');
    my $pid    = $waiter->query_safe('SELECT pg_backend_pid()');
    $waiter->query_until(qr/asked/, "\\echo asked\nSELECT 'got ' || status || ' ' || (clock_timestamp() - finished_at < '500 ms')::text FROM wee5_cron.wait_for($id, '1 hour');\n");
    $node->poll_query_until('postgres', "SELECT wait_event_type = 'Extension' FROM pg_stat_activity WHERE pid = $pid") or die;
    $end->($id);
    like($waiter->query_until(qr/got/, ''), qr/^got $status true$/m, "a call that ends as $status wakes its wait_for()");
    $waiter->quit;
};
$waits->($node->call('postgres', '/queued'), sub { $node->safe_psql('postgres', "SELECT wee5_cron.cancel($_[0])") }, 'cancelled');
$waits->($hanging, sub { $receiver->release_for_good }, 'succeeded');

# Nothing is sent while the database is disarmed: wait_for() returns the row at its timeout.
my $down = Wee5Cron::Receiver->start;
$down->close_port;
$node->install('app', api_url => $down->url, secret => 'the secret');
$node->policy('app', '/down', retry_delays => '{1 h}', retry_window => '3 h');
my $waiting = $node->call('app', '/down');
$node->invocation_when('app', $waiting, "status = 'retrying'");
$node->safe_psql('postgres', 'CREATE DATABASE copied TEMPLATE app');
$node->raises('copied', "SELECT invoke_cron_endpoint('/x')", '55000', 'a call on a copy is an error', hint => qr/arm/);
my $at_the_timeout = 'SELECT status, clock_timestamp() - statement_timestamp() BETWEEN %s FROM wee5_cron.wait_for(%s, %s)';
is($node->safe_psql('copied', sprintf($at_the_timeout, "'300 ms' AND '1 min'", $waiting, "'300 ms'")), 'retrying|t', '... and wait_for() returns at its timeout');
is($node->safe_psql('copied', sprintf($at_the_timeout, "'0' AND '1 min'", $waiting, "'-1 day'")), 'retrying|t', '... even if the timeout is negative');

$node->log_is_sane;
done_testing();
