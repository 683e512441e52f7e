# CALL wee5_cron.run(): one statement that makes a call, waits for its end, and fails if the call failed.
use FindBin;
use lib "$FindBin::RealBin/../support";
use Wee5Cron::Test;

my $receiver = Wee5Cron::Receiver->start(secret => 'the secret');
my $node = Wee5Cron::Node->start_new('main');
$node->install('postgres', api_url => $receiver->url, secret => 'the secret');
$node->safe_psql('postgres', <<'SQL');
CREATE ROLE caller LOGIN; SELECT wee5_cron.grant_to('caller', 'call');
CREATE ROLE nobody LOGIN;
SQL
$node->no_retries('postgres', '/down', '/status/503');
$node->install('unset', api_url => $receiver->url);
my $last = sub { $node->one_row('postgres', 'SELECT * FROM wee5_cron.invocation ORDER BY id DESC LIMIT 1') };
my $calls = sub { $node->safe_psql('postgres', 'SELECT count(*) FROM wee5_cron.invocation') };

# What the statement reports.
is($node->error_of('postgres', "CALL wee5_cron.run('/status/204')"), undef, 'run() of a route that answers 2xx succeeds');
fields_are($last->(), { endpoint_path => '/status/204', status => 'succeeded', http_status => 204, requested_by => qr/./ }, '... and the ledger has its row');
$node->raises('postgres', "CALL wee5_cron.run('/status/500')", '38000', 'when the app answers 500 it is an error',
    message => qr{^call \d+ of /status/500 failed: The app answered 500});
my $error = $node->error_of('postgres', "CALL wee5_cron.run('/status/401')");
my $row = $last->();
fields_are($row, { status => 'failed', http_status => 401 }, 'a run() whose call fails leaves its row');
is($error->{message}, "call $row->{id} of /status/401 failed: $row->{error}", "... and its error has the row's error");
is($error->{hint} =~ s/\s+\z//r, $row->{hint}, "... and its hint is the row's hint");
$node->safe_psql('postgres', q{INSERT INTO wee5_cron.endpoint (endpoint_path, method, body) VALUES ('/posted', 'POST', '{"a": 1}')});
is($node->error_of('postgres', "CALL wee5_cron.run('/posted')"), undef, "run() follows the policy of its path");
fields_are(($receiver->requests('/posted'))[0], { method => 'POST', body => qr/"a"/ }, '... and uses its method and body');
$receiver->close_port;
$node->raises('postgres', "CALL wee5_cron.run('/down')", '38000', 'run() with an app that is down is an error', message => qr{^call \d+ of /down failed: No connection to }, hint => qr/api_url/);
$receiver->open_port;

# Which roles may use it: EXECUTE is the only privilege needed.
is($node->error_of('postgres', "CALL wee5_cron.run('/by-caller')", role => 'caller'), undef, 'a role with the profile call may use run()');
fields_are($last->(), { endpoint_path => '/by-caller', requested_by => 'caller', status => 'succeeded' }, '... and its row names that role');
$node->raises('postgres', "CALL wee5_cron.run('/status/503')", '38000', 'run() by a caller reports a failure', role => 'caller', message => qr/503/);
my $before = $calls->();
$node->raises('postgres', "CALL wee5_cron.run('/x')", '42501', 'a role without a grant may not use run()', role => 'nobody');

# An error of the call itself is passed on unchanged.
$node->raises('postgres', 'CALL wee5_cron.run(NULL)', '22004', 'run() of a NULL path is an error');
$node->raises('postgres', "CALL wee5_cron.run('no-slash')", '22023', 'run() of an invalid path is an error');
is($calls->(), $before, '... and none of these errors leaves a row');
$node->raises('unset', "CALL wee5_cron.run('/x')", '55000', 'run() without a secret is an error', message => qr/cron_secret/, hint => qr/wee5_cron\.configure\(/);
is($node->safe_psql('unset', 'SELECT count(*) FROM wee5_cron.invocation'), 0, '... and it leaves no row');
$node->raises('unset', "SET wee5_cron.missing_config = 'skip'; CALL wee5_cron.run('/x')", '38000',
    "with missing_config = 'skip' run() without a secret is an error, since no request was made", message => qr{^call \d+ of /x was not made: .*cron_secret}, hint => qr/wee5_cron\.configure\(/);
fields_are($node->one_row('unset', 'SELECT * FROM wee5_cron.invocation'), { status => 'skipped', reason => 'config' }, "with missing_config = 'skip' run() leaves a row that says skipped");

# Not inside a transaction: the COMMIT sends the call.
$before = $calls->();
my %inside = (
    'a transaction block'    => "BEGIN; CALL wee5_cron.run('/x')",
    'several statements'     => "SELECT 1\\; CALL wee5_cron.run('/x')",
    'a function'             => "CREATE FUNCTION pg_temp.f() RETURNS void LANGUAGE plpgsql AS \$\$ BEGIN CALL wee5_cron.run('/x'); END \$\$; SELECT pg_temp.f()",
    'a block with EXCEPTION' => "DO \$\$ BEGIN CALL wee5_cron.run('/x'); EXCEPTION WHEN external_routine_exception THEN NULL; END \$\$",
);
$node->raises('postgres', $inside{$_}, '2D000', "run() in $_ is an error", message => qr/transaction block/, hint => qr{CALL wee5_cron\.run\('/x'\).*wait_for}s)
  for sort keys %inside;
is($calls->(), $before, '... and no request is sent');
is($node->error_of('postgres', "DO \$\$ BEGIN CALL wee5_cron.run('/a'); CALL wee5_cron.run('/b'); END \$\$"), undef, 'a DO block may CALL run() several times');
is(join(' ', map { $_->{path} } $receiver->requests(qr{^/[ab]$})), '/a /b', '... and each call is made');

# Objects of the same names in the search_path make no difference: the procedure does not use it.
$node->safe_psql('postgres', <<'SQL');
CREATE SCHEMA evil;
CREATE FUNCTION evil.trap() RETURNS pg_catalog.text LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'shadowed'; END $$;
CREATE FUNCTION evil.same(a pg_catalog.text, b pg_catalog.text) RETURNS boolean LANGUAGE sql AS 'SELECT evil.trap() IS NULL';
CREATE OPERATOR evil.= (leftarg = pg_catalog.text, rightarg = pg_catalog.text, function = evil.same);
CREATE FUNCTION evil.format(a pg_catalog.text, b pg_catalog.text) RETURNS pg_catalog.text LANGUAGE sql AS 'SELECT evil.trap()';
CREATE FUNCTION evil.format(a pg_catalog.text, b bigint) RETURNS pg_catalog.text LANGUAGE sql AS 'SELECT evil.trap()';
CREATE FUNCTION evil.format(a pg_catalog.text, b bigint, c pg_catalog.text, d pg_catalog.text) RETURNS pg_catalog.text LANGUAGE sql AS 'SELECT evil.trap()';
CREATE DOMAIN evil.text AS pg_catalog.text CHECK (evil.trap() IS NULL);
CREATE DOMAIN evil.int8 AS pg_catalog.int8 CHECK (evil.trap() IS NULL);
CREATE DOMAIN evil.interval AS pg_catalog.interval CHECK (evil.trap() IS NULL);
SQL
my $evil = 'SET search_path = evil, pg_catalog';
$node->raises('postgres', "$evil; $_", 'P0001', "the trap works: $_", message => qr/shadowed/)
  for ("SELECT 'a'::pg_catalog.text = 'b'::pg_catalog.text", "SELECT format('%s', 1::bigint, 'a'::pg_catalog.text, 'b'::pg_catalog.text)", "SELECT 'a'::text", 'SELECT 1::int8');
is($node->error_of('postgres', "$evil; CALL wee5_cron.run('/status/200')"), undef, 'objects in the search_path with the names that run() uses do not change it');
$node->raises('postgres', "$evil; CALL wee5_cron.run('/status/500')", '38000', '... nor run() that reports a failure', message => qr/answered 500/);
$node->raises('postgres', "$evil; BEGIN; CALL wee5_cron.run('/x')", '2D000', '... nor run() that is refused', message => qr/transaction block/);

# While it waits it releases its snapshot again and again, so that VACUUM can do its work. It waits as long as it takes.
sub waiting_session {
    my ($path, $count) = @_;
    my $session = $node->background_psql('postgres', on_error_stop => 0);
    my $pid = $session->query_safe('SELECT pg_backend_pid()');
    $session->query_until(qr/asked/, "\\echo asked\nCALL wee5_cron.run('$path');\n\\echo :SQLSTATE ended\n");
    $receiver->wait_for_requests($path =~ s/\?.*//r, $count // 1);
    return ($session, $pid);
}
my ($session, $pid) = waiting_session('/hang', 1);
my $horizon = "SELECT backend_xmin FROM pg_stat_activity WHERE pid = $pid";
for my $time (1 .. 3) {
    # No other session has an older snapshot: a transaction that ends now is newer than anything the waiting session may
    # still see.
    my $xid = $node->safe_psql('postgres', 'SELECT pg_current_xact_id()::xid');
    ok($node->poll_query_until('postgres', "SELECT coalesce(age(backend_xmin) < age('$xid'::xid), true) FROM pg_stat_activity WHERE pid = $pid"),
        "the snapshot of a waiting run() advances ($time)");
}
is($node->safe_psql('postgres', "SELECT count(*) FROM pg_locks WHERE pid = $pid AND locktype = 'relation' AND mode <> 'AccessShareLock'"), 0, '... and run() locks out no other session');
$receiver->release(500);
like($session->query_until(qr/ended/, ''), qr/38000 ended/, 'run() reports a failure that comes after a long time');
$session->quit;

# A cancel ends the waiting, not the call.
($session, $pid) = waiting_session('/hang?cancel', 2);
$node->safe_psql('postgres', "SELECT pg_cancel_backend($pid)");
like($session->query_until(qr/ended/, ''), qr/57014 ended/, 'a cancel ends run()');
$session->quit;
fields_are($last->(), { endpoint_path => '/hang?cancel', finished_at => undef }, '... and the call goes on');
my $id = $last->()->{id};
$receiver->release_for_good;
fields_are($node->finished('postgres', $id), { status => 'succeeded' }, '... and succeeds');

# A call that ends without being sent. The only slot is taken, so the call is still queued when it is ended by hand.
$receiver->hold;
my $hanging = $node->block_the_wire('postgres', $receiver);
for my $case (
    [ skipped   => 'overlap', 'the call before still runs',  qr{NOTICE:  00000: call \d+ of /queued was skipped: the call before still runs}, qr/00000 ended/ ],
    [ cancelled => 'cancelled', 'cancelled by hand',       qr{ERROR:  38000: call \d+ of /queued was not made: cancelled by hand},      qr/38000 ended/ ]) {
    my ($status, $reason, $why, $said, $ended) = @$case;
    my $session = $node->background_psql('postgres', on_error_stop => 0);
    $session->query_safe('\set VERBOSITY verbose');
    my $since = $last->()->{id};
    $session->query_until(qr/asked/, "\\echo asked\nCALL wee5_cron.run('/queued');\n\\echo :SQLSTATE ended\n");
    $node->poll_query_until('postgres', "SELECT max(id) > $since FROM wee5_cron.invocation");
    $node->safe_psql('postgres', "UPDATE wee5_cron.invocation SET status = '$status', reason = '$reason', error = '$why', finished_at = now() WHERE id > $since");
    like($session->query_until(qr/ended/, ''), $ended, "run() of a call that ended as $status, $reason, reports " . ($status eq 'skipped' ? 'no failure' : 'a failure'));
    like($session->{stderr}, $said, '... and its message says why');
    like($session->{stderr}, qr/HINT:  SELECT \* FROM wee5_cron\.invocation WHERE id = \d+;/, '... and its hint names the row');
    $session->quit;
}
$receiver->release_for_good;
$node->finished('postgres', $hanging);

$node->log_is_sane;
done_testing();
