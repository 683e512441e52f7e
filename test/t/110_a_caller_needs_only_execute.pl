# What grant_to() grants, what a role cannot do without it, and how to wait for a call.
use FindBin;
use lib "$FindBin::RealBin/../support";
use Wee5Cron::Test;
use Wee5Cron::Editions;

my $receiver = Wee5Cron::Receiver->start(secret => 'the secret');
my $node = Wee5Cron::Editions->start_node('main');
$node->install('postgres', api_url => $receiver->url, secret => 'the secret');
$node->safe_psql('postgres', 'CREATE ROLE caller LOGIN; CREATE ROLE reader LOGIN; CREATE ROLE operator LOGIN; CREATE ROLE nobody LOGIN');
$node->safe_psql('postgres', "SELECT wee5_cron.grant_to('caller', 'call'); SELECT wee5_cron.grant_to('reader', 'read');"
      . "SELECT wee5_cron.grant_to('operator', 'operate')");

# A caller makes calls.
my $id = $node->psql_as('caller', 'postgres', "SELECT invoke_cron_endpoint('/by-caller')");
my $row = $node->finished('postgres', $id);
fields_are($row, { status => 'succeeded', requested_by => 'caller' }, 'a role with the profile call makes calls');
is(($receiver->requests('/by-caller'))[0]{bearer}, 'match', '... with the secret, which it cannot see');
$id = $node->psql_as('caller', 'postgres', "SELECT wee5_cron.invoke('/posted', 'POST', '{\"a\": 1}')");
$node->deliver;
is($node->psql_as('caller', 'postgres', "SELECT status FROM wee5_cron.wait_for($id)"), 'succeeded', '... and uses invoke() and wait_for()');
$node->raises('postgres', 'SELECT * FROM wee5_cron.invocation', '42501', '... and cannot read the ledger', role => 'caller');
my $of_another = $node->call('postgres', '/of-another', q{method => 'POST', body => '{"private": true}'});
$node->deliver;
my $content = "SELECT status, endpoint_path, concat(headers, body, response_body, idempotency_key, key) FROM wee5_cron.wait_for($of_another)";
is($node->psql_as('caller', 'postgres', $content), 'succeeded|/of-another|', "... and can wait for another role's call without seeing its answer");
like($node->psql_as('reader', 'postgres', $content), qr/private/, "a reader sees the answer of any role's call");
$node->raises('postgres', 'SELECT * FROM wee5_cron.worker', '42501', 'a caller cannot read the view worker', role => 'caller');
$node->raises('postgres', 'SELECT wee5_cron.register_jobs()', '42501', 'a caller cannot register jobs', role => 'caller');

# A reader reads.
is($node->psql_as('reader', 'postgres', "SELECT status FROM wee5_cron.invocation WHERE id = $id"), 'succeeded', 'a reader reads the ledger');
is($node->psql_as('reader', 'postgres', 'SELECT count(*) FROM wee5_cron.attempt'), 3, '... and the attempts');
is($node->psql_as('reader', 'postgres', 'SELECT datname FROM wee5_cron.worker'), $node->is_portable ? '' : 'postgres', '... and the view worker');
is($node->psql_as('reader', 'postgres', 'SELECT count(*) FROM wee5_cron.job_status'), 0, '... and the view job_status');
$node->raises('postgres', 'DELETE FROM wee5_cron.invocation', '42501', '... and cannot change the ledger', role => 'reader');

# A role without a grant can do nothing.
for my $statement (
    "SELECT invoke_cron_endpoint('/x')",
    "SELECT wee5_cron.invoke('/x')",
    'SELECT wee5_cron.wait_for(1)',
    'SELECT * FROM wee5_cron.invocation',
    'SELECT * FROM wee5_cron.job_status',
    'SELECT * FROM wee5_cron.worker_slots()',
    'SELECT wee5_cron.harvest()',
    "SELECT wee5_cron.grant_to('nobody', 'call')",
    "SELECT wee5_cron.run_now('x')") {
    $node->raises('postgres', $statement, '42501', "a role without a grant: $statement", role => 'nobody');
}
is(scalar(my @none = $receiver->requests('/x')), 0, 'and no request was sent for a role without a grant');
is($node->error_of('postgres', 'SELECT wee5_cron.harvest()', role => 'operator'), undef, 'an operator may run harvest()');

# wait_for(): which calls it refuses at once.
my $own = "wait_for() of the transaction's own call is an error";
$node->raises('postgres', "SELECT wee5_cron.wait_for(wee5_cron.invoke('/own'))", '55000', "$own, in one statement", hint => qr/\w/);
for my $begin ('', $node->is_portable ? () : ('ISOLATION LEVEL REPEATABLE READ', 'ISOLATION LEVEL SERIALIZABLE')) {
    $node->raises('postgres', "BEGIN $begin; SELECT invoke_cron_endpoint('/own') AS id \\gset\nSELECT wee5_cron.wait_for(:id)", '55000', "$own, in two ($begin)");
}
$node->raises('postgres', "BEGIN; SAVEPOINT a; SELECT invoke_cron_endpoint('/own') AS id \\gset\nSELECT wee5_cron.wait_for(:id)", '55000', "$own, in one savepoint");
$node->raises('postgres', "BEGIN; SAVEPOINT a; SELECT invoke_cron_endpoint('/own') AS id \\gset\nRELEASE a; SAVEPOINT b; SELECT wee5_cron.wait_for(:id)",
    '55000', "$own, in two savepoints");
$node->raises('postgres', "BEGIN; SELECT invoke_cron_endpoint('/own') AS id \\gset\nSAVEPOINT a; SELECT wee5_cron.wait_for(:id, '0')", '55000', "$own, whatever the timeout");
my $rolled_back = "BEGIN; SAVEPOINT a; SELECT invoke_cron_endpoint('/own') AS id \\gset\nROLLBACK TO a;";
$node->raises('postgres', "$rolled_back SELECT wee5_cron.wait_for(:id)", '02000', 'a call whose savepoint was rolled back is unknown');
$node->raises('postgres', "$rolled_back ROLLBACK; SELECT wee5_cron.wait_for(:id)", '02000', 'a call whose transaction was rolled back is unknown');
$node->raises('postgres', 'SELECT wee5_cron.wait_for(987654321)', '02000', 'wait_for() of an unknown id is an error', message => qr/987654321/, hint => qr/commit/);
$node->raises('postgres', 'SELECT wee5_cron.wait_for(-1)', '02000', 'wait_for() of an impossible id says that the call is unknown');
$node->raises('postgres', 'SELECT wee5_cron.wait_for(NULL)', '22004', 'wait_for(NULL) is an error');
$node->raises('postgres', 'SELECT wee5_cron.wait_for(1, NULL)', '22004', 'wait_for() with a timeout of NULL is an error');
Wee5Cron::Editions->needs_the_worker($node);

is($node->safe_psql('postgres', <<'SQL'), 'unknown, then succeeded', 'wait_for() works after an earlier error was caught');
DO $$ BEGIN PERFORM wee5_cron.wait_for(987654321); EXCEPTION WHEN SQLSTATE '02000' THEN PERFORM set_config('test.caught', 'unknown, then ', false); END $$;
SELECT invoke_cron_endpoint('/after-an-error') AS id \gset
SELECT current_setting('test.caught') || status FROM wee5_cron.wait_for(:id);
SQL

# Timeouts.
$id = $node->call('postgres', '/hang');
is($node->safe_psql('postgres', "SELECT id, finished_at IS NULL FROM wee5_cron.wait_for($id, '$_')"), "$id|t", "at the timeout wait_for() returns the row as it stands ($_)")
  for '200 ms', '0', '-1 hour', '-178000000 years', '1 month -30 days';
$node->raises('postgres', "SET statement_timeout = '200 ms'; SELECT wee5_cron.wait_for($id, '$_')", '57014', "statement_timeout ends wait_for() ($_)")
  for '1 hour', '178000000 years', $node->safe_psql('postgres', "SELECT current_setting('server_version_num')::int") >= 170000 ? 'infinity' : '294276 years';

# Starts a session that waits for a call; with `begin`, in a transaction that took its snapshot before the row existed.
# Returns the session with its pid once it waits.
sub waiting_session {
    my ($begin, $wait_for) = @_;
    my $session = $node->background_psql('postgres', on_error_stop => 0);
    my $pid = $session->query_safe('SELECT pg_backend_pid()');
    $session->query_safe("BEGIN $begin; SELECT count(*) FROM wee5_cron.invocation") if defined $begin;
    my $id = $wait_for->();
    $session->query_until(qr/asked/, "\\echo asked\nSELECT 'got ' || status || ' ' || http_status FROM wee5_cron.wait_for($id, '178000000 years');\n\\echo :SQLSTATE ended\n");
    $node->poll_query_until('postgres',
        "SELECT state = 'active' AND wait_event IS NOT NULL FROM pg_stat_activity WHERE pid = $pid AND query LIKE '%wait_for%'")
      or die "wait_for does not wait\n";
    return ($session, $pid);
}

my @modes = (
    'ISOLATION LEVEL READ COMMITTED', 'READ ONLY', 'ISOLATION LEVEL REPEATABLE READ', 'ISOLATION LEVEL REPEATABLE READ READ ONLY',
    'ISOLATION LEVEL SERIALIZABLE', 'ISOLATION LEVEL SERIALIZABLE READ ONLY DEFERRABLE');
for my $mode (@modes) {
    my $before = () = $receiver->requests('/hang');
    my ($session) = waiting_session($mode, sub { $node->call('postgres', '/hang?' . lc($mode =~ s/ /-/gr)) });
    $receiver->wait_for_requests('/hang', $before + 1);
    $receiver->release(201);
    like($session->query_until(qr/ended/, ''), qr/^got succeeded 201$/m, "wait_for() returns the row when the call has ended: BEGIN $mode");
    is($session->query_safe('COMMIT; SELECT 1'), 1, '... and the transaction can commit');
    $session->quit;
}
is($node->finished('postgres', $id)->{status}, 'succeeded', 'the first call has ended too');
is($node->safe_psql('postgres', "SELECT status FROM wee5_cron.wait_for($id, '0')"), 'succeeded', 'wait_for() of a call that has ended returns at once');

# Many waiters.
$id = $node->call('postgres', '/hang?many');
my @waiters = map { (waiting_session(undef, sub { $id }))[0] } 1 .. 5;
$receiver->wait_for_requests('/hang', scalar @modes + 2);
$receiver->release;
like($_->query_until(qr/ended/, ''), qr/^got succeeded 200$/m, 'each of many waiters gets the row') for @waiters;
$_->quit for @waiters;

# Other ways in which the waiting ends.
for my $end (
    [ 'a cancel'                                     => 'SELECT pg_cancel_backend(%d)',                                   '57014' ],
    [ 'the deletion of the row'                      => 'DELETE FROM wee5_cron.invocation WHERE finished_at IS NULL',    '02000' ],
    [ 'a TRUNCATE, which does not wait for it,'      => 'TRUNCATE wee5_cron.invocation',                                 '02000' ],
    [ 'a DROP EXTENSION, which does not wait either,' => 'DROP EXTENSION wee5_cron',                                     '42P01' ]) {
    my ($what, $sql, $sqlstate) = @$end;
    my ($session, $pid) = waiting_session(undef, sub { $node->call('postgres', '/hang?end') });
    if ($sqlstate eq '57014') {
        my ($dying, $dying_pid) = waiting_session(undef, sub { $node->safe_psql('postgres', 'SELECT max(id) FROM wee5_cron.invocation') });
        $node->safe_psql('postgres', "SELECT pg_terminate_backend($dying_pid)");
        ok($node->poll_query_until('postgres', "SELECT count(*) = 0 FROM pg_stat_activity WHERE pid = $dying_pid"), 'a session in wait_for() can be terminated');
    }
    $node->safe_psql('postgres', $sql =~ s/%d/$pid/r);
    like($session->query_until(qr/ended/, ''), qr/^$sqlstate ended$/m, "$what ends wait_for()");
    $session->quit;
}

$node->log_is_sane;
done_testing();
