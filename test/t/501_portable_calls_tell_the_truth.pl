# The portable edition on a hosted server: calls over pg_net, their outcomes in the ledger, retries, overlap, and jobs on
# pg_cron's tick.
use strict;
use warnings;

# A tick is up to a minute away.
BEGIN { $ENV{PG_TEST_TIMEOUT_DEFAULT} ||= 180 }

use FindBin;
use lib "$FindBin::RealBin/../support";
use Time::HiRes qw(usleep);
use Wee5Cron::Test fixtures => [ 'pg_net', 'supabase_vault' ];
use Wee5Cron::Doctor;
use Wee5Cron::Hosted;

my $secret   = 'canary-of-the-portable-edition';
my $receiver = Wee5Cron::Receiver->start(secret => $secret);
my $down     = Wee5Cron::Receiver->start(secret => $secret);
my $node     = Wee5Cron::Hosted->start_new('main');
note($node->uses_real_pg_net ? 'the real pg_net sends' : 'skipped: pg_net not available; a stand-in sends');
$node->install_portable;

# The two values may already be in Vault, stored through the host's own page.
$node->as_owner("SELECT vault.create_secret('@{[ $receiver->url ]}', 'api_url'); SELECT vault.create_secret('$secret', 'cron_secret')");
$node->as_owner("SELECT wee5_cron.set('default_jobs', 'on'); SELECT wee5_cron.configure()");
is($node->as_owner("SELECT string_agg(jobname || ' ' || username, ', ' ORDER BY jobname) FROM cron.job"),
    'daily-analytics postgres, poll-activities postgres, wee5-cron-harvest postgres, welcome-emails postgres', 'configure() arms the database and makes the jobs');
my $absent = $node->uses_real_pg_net ? '' : 'pg_net_worker';    # the stand-in is no process of the server
is($node->as_owner("SELECT string_agg(check_name || ' ' || detail, E'\\n') FROM wee5_cron.doctor() WHERE status = 'error' AND check_name <> '$absent'"), '', 'doctor() finds no error');

$node->remove_harvest_job;

# Outcomes.
$node->no_retries('postgres', '/status/503');
$node->as_owner("INSERT INTO wee5_cron.endpoint (endpoint_path, max_response_bytes) VALUES ('/html', 9)");
my %call = map { $_ => $node->as_owner("SELECT invoke_cron_endpoint('$_')") } qw(/status/200 /status/401 /status/500 /html?status=404 /leak?status=500);
$call{slow} = $node->as_owner("SELECT wee5_cron.invoke('/slow?ms=20000', timeout => '500 ms')");
$call{post} = $node->as_owner(q{SELECT wee5_cron.invoke('/echo', 'POST', '{"a": 1}', '{"X-Team": "blue"}')});
$node->as_owner("BEGIN; SELECT invoke_cron_endpoint('/rolled-back'); ROLLBACK");
$node->deliver_and_harvest;
my %row = map { $_ => $node->invocation('postgres', $call{$_}) } keys %call;
fields_are($row{'/status/200'}, { status => 'succeeded', reason => undef, error => undef, http_status => 200, transport => 'pg_net', attempts => 1, requested_by => 'postgres', first_sent_at => undef }, 'an answer of 200 is a success');
fields_are($row{'/status/401'}, { status => 'failed', reason => 'http', http_status => 401, error => qr/401 Unauthorized/, hint => qr/wee5_cron\.configure\(cron_secret => /, attempts => 1 }, 'an answer of 401 is a failure, with a hint that its reader can follow');
fields_are($row{'/status/500'}, { status => 'failed', reason => 'http', http_status => 500, error => qr/500 Internal Server Error/ }, 'an answer of 500 is a failure');
fields_are($row{'/html?status=404'}, { status => 'failed', reason => 'http', http_status => 404 }, 'an answer of 404 is a failure');
fields_are($row{slow}, { status => 'failed', reason => 'timeout', http_status => undef, hint => qr/wee5_cron\.set\('request_timeout', '\d+s'\)/ }, "a slow route is a timeout, and the hint raises this edition's setting");
fields_are($row{post}, { status => 'succeeded', http_status => 200, method => 'POST' }, 'a POST with a body and a header is sent');
unlike($row{'/leak?status=500'}{response_body}, qr/\Q$secret\E/, 'the secret in an answer is redacted');
is(scalar(() = $receiver->requests('/rolled-back')), 0, 'a call that was rolled back is not sent');
is(length($row{'/html?status=404'}{response_body}), 9, 'a policy says how much of an answer is kept');
my ($request) = $receiver->requests('/status/200');
is($request->{bearer}, 'match', 'the request carries the bearer');
fields_are({ map { lc $_ => $request->{headers}{$_} } keys %{ $request->{headers} } },
    { 'user-agent' => qr{^wee5_cron/}, 'idempotency-key' => $row{'/status/200'}{idempotency_key}, 'x-wee5-cron-invocation' => $call{'/status/200'}, 'x-wee5-cron-attempt' => 1, 'x-wee5-cron-timeout-ms' => 30000 },
    '... and the headers of a call');
is(scalar $node->attempts('postgres', $call{'/status/500'}), 1, 'each attempt has its row');

# With such settings, Postgres runs queries in parallel that it otherwise would not.
my $parallel = join '', map { "SET $_ = 0; " } qw(parallel_setup_cost parallel_tuple_cost min_parallel_table_scan_size min_parallel_index_scan_size);
$node->as_owner(q{SELECT wee5_cron.configure_target('other', 'https://other.example.com', 'a secret of thirty-two characters')});
is($node->error_of('postgres', "${parallel}SELECT invoke_cron_endpoint('/status/200?parallel')", role => 'postgres'), undef, 'a call is made where parallel queries cost nothing');
is($node->as_owner("${parallel}SELECT string_agg(check_name, ' ') FROM wee5_cron.doctor() WHERE detail LIKE 'the check failed:%'"), '', '... and all checks of doctor() run');
$node->as_owner("SELECT wee5_cron.drop_target('other')");
$node->deliver_and_harvest;

# Connection refused: nothing listens.
$node->as_owner("SELECT wee5_cron.configure('@{[ $down->url ]}')");
$down->close_port;
$node->policy('postgres', '/x', max_attempts => 1);
my $refused = $node->as_owner("SELECT invoke_cron_endpoint('/x')");
$node->deliver_and_harvest;
fields_are($node->invocation('postgres', $refused), { status => 'failed', reason => 'connect', http_status => undef, error => qr/connect/i }, 'a refused connection is a connect failure');
$node->as_owner("SELECT wee5_cron.configure('@{[ $receiver->url ]}')");

# A policy limits how many of its calls pg_net has at once.
$node->policy('postgres', '/few', max_in_flight => 2);
my @few = split /\n/, $node->as_owner("SELECT invoke_cron_endpoint('/few?n=' || n) FROM generate_series(1, 3) n");
is($node->as_owner('SELECT count(*) FROM wee5_cron.pg_net_request'), 2, 'max_in_flight of a policy: the third call waits');
$node->deliver_and_harvest for 1 .. 2;
is($node->as_owner("SELECT string_agg(status, ' ') FROM wee5_cron.invocation WHERE id IN (@{[ join ',', @few ]})"), 'succeeded succeeded succeeded', '... and harvest() hands it over after an answer');

# Retries by the policy of the path and by hand, and cancel().
$node->policy('postgres', '/status/503', max_attempts => 2, retry_delays => '{100ms}');
my $busy = $node->as_owner("SELECT invoke_cron_endpoint('/status/503')");
$node->deliver_and_harvest;
fields_are($node->invocation('postgres', $busy), { status => 'retrying', attempts => 1, finished_at => undef }, 'a call answered with 503 is to be retried');
my $until = time + 60;
while (time < $until && $node->as_owner("SELECT status FROM wee5_cron.invocation WHERE id = $busy") ne 'failed') {
    $node->deliver_and_harvest;
    usleep(100_000);
}
fields_are($node->invocation('postgres', $busy), { status => 'failed', attempts => 2, http_status => 503 }, '... and fails after its last attempt');
is(join(' ', map { $_->{headers}{'x-wee5-cron-attempt'} // $_->{headers}{'X-Wee5-Cron-Attempt'} } $receiver->requests('/status/503')), '1 2', '... and each request has its attempt number');
my $again = $node->as_owner("SELECT wee5_cron.retry($busy)");
is($node->as_owner("SELECT count(DISTINCT idempotency_key) FROM wee5_cron.invocation WHERE id IN ($busy, $again)"), 1, 'retry() makes the call again with the same key');
$node->raises('postgres', "SELECT wee5_cron.wait_for(9999)", '02000', 'wait_for() of an unknown call is an error', role => 'postgres');
$node->raises('postgres', "BEGIN; SELECT wee5_cron.wait_for(wee5_cron.invoke('/status/200'))", '55000', 'wait_for() of a call of this transaction', role => 'postgres', message => qr/made by the current transaction/);
$node->raises('postgres', "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT wee5_cron.wait_for($busy)", '0A000', 'wait_for() is an error where it cannot see the end of the call', role => 'postgres');
$node->raises('postgres', "SELECT wee5_cron.invoke('/x', '$_')", '0A000', "$_ needs the extension", role => 'postgres', message => qr/pg_net cannot send $_/) for qw(PUT PATCH HEAD);

# wait_for() records the answer itself.
$node->deliver_and_harvest;
my $waited = $node->as_owner("SELECT invoke_cron_endpoint('/status/204')");
$node->deliver;
is($node->as_owner("SELECT status FROM wee5_cron.wait_for($waited, '1 minute')"), 'succeeded', 'wait_for() records the answer of its call');
$node->policy('postgres', '/status/503', max_attempts => 2, retry_delays => '{100ms}');
my $retried = $node->as_owner("SELECT invoke_cron_endpoint('/status/503?waited-for')");
$node->deliver;
is($node->as_owner("SELECT status || attempts FROM wee5_cron.wait_for($retried, '1 second')"), 'queued0', '... but leaves a retry to harvest(), since its own transaction could not send it');
for (1 .. 100) {
    $node->deliver_and_harvest;
    last if $node->as_owner("SELECT finished_at IS NOT NULL FROM wee5_cron.invocation WHERE id = $retried") eq 't';
    usleep(100_000);
}
is($node->as_owner("SELECT status || attempts FROM wee5_cron.wait_for($retried, '1 second')"), 'failed2', '... which makes the retry');
my %inside = (
    'a transaction block' => "BEGIN; CALL wee5_cron.run('/inside')",
    'several statements'  => "SELECT 1\\; CALL wee5_cron.run('/inside')",
    'a function'          => "CREATE FUNCTION pg_temp.f() RETURNS void LANGUAGE plpgsql AS \$\$ BEGIN CALL wee5_cron.run('/inside'); END \$\$; SELECT pg_temp.f()",
    'a block with EXCEPTION' => "DO \$\$ BEGIN CALL wee5_cron.run('/inside'); EXCEPTION WHEN external_routine_exception THEN NULL; END \$\$",
    'a procedure called in such a block' => "CREATE PROCEDURE pg_temp.p() LANGUAGE plpgsql AS \$\$ BEGIN CALL wee5_cron.run('/inside'); END \$\$; DO \$\$ BEGIN CALL pg_temp.p(); EXCEPTION WHEN external_routine_exception THEN NULL; END \$\$",
);
$node->raises('postgres', $inside{$_}, '2D000', "run() in $_ is an error", role => 'postgres', message => qr/cannot run in a transaction block, a function or a block with EXCEPTION/, hint => qr{CALL wee5_cron\.run\('/inside'\).*wait_for}s)
  for sort keys %inside;
is($node->as_owner("SELECT count(*) FROM wee5_cron.invocation WHERE endpoint_path = '/inside'"), 0, '... and makes no call');
$node->as_owner("CREATE ROLE runner LOGIN; SELECT wee5_cron.grant_to('runner', 'call')");
my %alone = (
    'alone'                    => "CALL wee5_cron.run('no-slash')",
    'in a DO block'            => "DO \$\$ BEGIN CALL wee5_cron.run('no-slash'); END \$\$",
    'after a block that ended' => "DO \$\$ BEGIN BEGIN PERFORM 1 / 0; EXCEPTION WHEN division_by_zero THEN NULL; END; CALL wee5_cron.run('no-slash'); END \$\$",
);
$node->raises('postgres', $alone{$_}, '22023', "run() $_ gets as far as its path", role => 'runner', message => qr/^invalid endpoint path/) for sort keys %alone;
is($node->as_owner('SELECT count(*) FROM wee5_cron.cancellation'), 0, '... and leaves nothing behind');
SKIP: {
    skip 'pg_net not available: nothing sends while run() waits', 3 unless $node->uses_real_pg_net;
    is($node->error_of('postgres', "CALL wee5_cron.run('/status/200')", role => 'postgres'), undef, 'run() waits for a successful call');
    is($node->error_of('postgres', "DO \$\$ BEGIN CALL wee5_cron.run('/status/200?1'); CALL wee5_cron.run('/status/200?2'); END \$\$", role => 'runner'), undef, '... twice in a DO block');
    $node->raises('postgres', "CALL wee5_cron.run('/status/500')", '38000', '... and raises for a failure', role => 'postgres', message => qr/failed: The app answered 500/);
}

# An open transaction locks the row that counts failures.
my $holder = $node->background_psql('postgres', extra_params => [ '-U', 'postgres' ]);
$holder->query_safe("BEGIN; INSERT INTO wee5_cron.trouble (kind, name, since) VALUES ('failing', '/status/404', now())");
my $beside_it = $node->as_owner("SELECT invoke_cron_endpoint('/status/404')");
$node->deliver;
is($node->error_of('postgres', "SET statement_timeout = '60s'; SELECT wee5_cron.harvest()", role => 'postgres'), undef, "harvest() does not wait for another session's open transaction");
fields_are($node->invocation('postgres', $beside_it), { status => 'failed', http_status => 404 }, '... and records the answer');
$holder->query_safe('ROLLBACK');
$holder->quit;

# An alert is sent again while its cause lasts.
$node->as_owner("SELECT wee5_cron.set('alert_repeat', '1h')");
$node->as_owner("INSERT INTO wee5_cron.trouble (kind, name, since, told, told_at, alert) VALUES ('late', 'old', now(), true, now() - interval '61 minutes', '{}'), ('late', 'new', now(), true, now() - interval '59 minutes', '{}')");
$node->as_owner('SELECT wee5_cron.harvest()');
is($node->as_owner("SELECT string_agg(name, ' ' ORDER BY told_at) FROM wee5_cron.trouble WHERE name IN ('old', 'new')"), 'new old', 'alert_repeat: harvest() sends an alert again when its time has come');
$node->as_owner("DELETE FROM wee5_cron.trouble WHERE name IN ('old', 'new'); SELECT wee5_cron.set('alert_repeat', NULL)");

# Work that goes on after the answer, and ends when the app says so.
$receiver->answers($_, status => 202, headers => ['Wee5-Cron: accepted']) for qw(/export /early /late);
$node->policy('postgres', '/late', complete_within => '100 ms');
$node->safe_psql('postgres', 'CREATE ROLE route LOGIN');
$node->as_owner("SELECT wee5_cron.grant_to('route', 'app')");
my $route = sub { $node->psql_as('route', 'postgres', $_[0]) };
my $key_of = sub { $node->as_owner("SELECT idempotency_key FROM wee5_cron.invocation WHERE id = $_[0]") };
my ($export, $early) = map { $node->as_owner("SELECT invoke_cron_endpoint('$_')") } qw(/export /early);
is($route->("SELECT wee5_cron.claim('@{[ $key_of->($export) ]}') || wee5_cron.claim('@{[ $key_of->($export) ]}')"), 'newrunning', 'claim() gives a key to only one caller');
is($route->("SELECT wee5_cron.complete('@{[ $key_of->($early) ]}', false, 'no space')"), 't', 'complete(false) before the answer is recorded returns true');
$node->deliver_and_harvest;
fields_are($node->invocation('postgres', $export), { status => 'accepted', http_status => 202, finished_at => undef, next_attempt_at => qr/./ }, 'an answer of 202 with the header leaves a call accepted');
fields_are($node->invocation('postgres', $early), { status => 'failed', reason => 'incomplete', error => 'no space', next_attempt_at => undef }, '... unless the app has called complete() before');
is($node->as_owner("SELECT status FROM wee5_cron.wait_for($export, '300 ms')"), 'accepted', '... and wait_for() returns it as not ended');
is($route->("SELECT wee5_cron.complete('@{[ $key_of->($export) ]}')"), 't', 'complete() of an accepted call returns true');
is($node->as_owner("SELECT status FROM wee5_cron.wait_for($export)"), 'succeeded', '... and the call succeeds at once');
my $late = $node->as_owner("SELECT invoke_cron_endpoint('/late')");
$node->deliver;
is($node->as_owner("SELECT status FROM wee5_cron.wait_for($late, '1 second')"), 'accepted', 'wait_for() records that a call is accepted');
$node->poll_query_until('postgres', "SELECT next_attempt_at < clock_timestamp() FROM wee5_cron.invocation WHERE id = $late") or die;
$node->as_owner('SELECT wee5_cron.harvest()');
fields_are($node->invocation('postgres', $late), { status => 'failed', reason => 'incomplete', error => qr/did not complete it in time/, hint => qr/complete_within/ }, 'an accepted call fails when its time is over');
is($route->("SELECT wee5_cron.complete('@{[ $key_of->($late) ]}')"), 'f', '... and complete() then returns false');
# complete() and the answer at once: the next harvest ends the call.
my $meanwhile = $node->as_owner("SELECT invoke_cron_endpoint('/export')");
my $completes = $node->background_psql('postgres', extra_params => [ '-U', 'route' ]);
$completes->query_safe("BEGIN; SELECT wee5_cron.complete('@{[ $key_of->($meanwhile) ]}')");
$node->deliver_and_harvest;
is($node->invocation('postgres', $meanwhile)->{status}, 'accepted', 'an uncommitted complete() does not end a call');
$completes->query_safe('COMMIT');
$completes->quit;
$node->as_owner('SELECT wee5_cron.harvest()');
is($node->invocation('postgres', $meanwhile)->{status}, 'succeeded', '... and a committed one ends it at the next harvest');

# Overlap.
$node->policy('postgres', '/slow', overlap => 'skip');
# In one transaction, so that pg_net does not send the first one meanwhile.
my @beside = split /\n/, $node->as_owner("BEGIN; SELECT invoke_cron_endpoint('/slow?ms=3000&1'); SELECT invoke_cron_endpoint('/slow?ms=3000&2'); SELECT wee5_cron.invoke('/slow?ms=3000&1', key => 'one'); COMMIT");
my $same_key = pop @beside;
is($node->as_owner("SELECT status || ' ' || reason FROM wee5_cron.invocation WHERE id = $beside[1]"), 'skipped overlap', 'a call is skipped while an earlier one has not ended');
is($node->as_owner("SELECT status || ' ' || reason FROM wee5_cron.invocation WHERE id = $same_key"), 'skipped overlap', '... whatever its key');
$node->deliver_and_harvest;
is($node->as_owner("SELECT status FROM wee5_cron.invocation WHERE id = $beside[0]"), 'succeeded', '... and the earlier one succeeds');

# Two sessions at once: the second one cannot know whether the first will commit.
for my $end ('COMMIT', 'ROLLBACK') {
    my $first = $node->background_psql('postgres', extra_params => [ '-U', 'postgres' ]);
    my $ended = $first->query_safe("BEGIN; SELECT invoke_cron_endpoint('/slow?of=$end')");
    my $other = $node->as_owner("SELECT invoke_cron_endpoint('/slow?of=$end')");
    is($node->invocation('postgres', $other)->{status}, 'queued', 'a call waits while the transaction of an earlier one is open');
    $node->as_owner('SELECT wee5_cron.harvest()');
    $first->query_safe($end);
    $first->quit;
    $node->deliver_and_harvest for 1, 2;
    my $sent = () = grep { $_->{url} =~ /of=$end/ } $receiver->requests('/slow');
    is($sent, 1, "$end: exactly one of both calls is sent");
    is($node->invocation('postgres', $other)->{status}, $end eq 'COMMIT' ? 'skipped' : 'succeeded', '... and the other call is skipped only if the first one was committed');
}

sub statuses_of { return $node->as_owner("SELECT string_agg(status, ' ' ORDER BY id) FROM wee5_cron.invocation WHERE id IN (" . join(', ', @_) . ')') }
sub later { my ($path, $at, $key) = @_; return $node->as_owner("SELECT wee5_cron.invoke('$path', at => clock_timestamp() + interval '$at'" . ($key ? ", key => '$key'" : '') . ')') }
sub time_passes { return $node->as_owner('UPDATE wee5_cron.invocation SET due_at = now(), next_attempt_at = now() WHERE next_attempt_at = due_at AND id IN (' . join(', ', @_) . ')') }
sub harvest_until { my ($id, $condition) = @_; for (1 .. 300) { $node->deliver_and_harvest; return 1 if $node->as_owner("SELECT $condition FROM wee5_cron.invocation WHERE id = $id") eq 't'; usleep(100_000) } return 0 }
# overlap = queue: one call waits until the one before has ended, and further ones are skipped. The app works on the one before:
# pg_net would answer it at any moment otherwise.
sub wait_of { return $node->as_owner("SELECT concat_ws(' ', status, reason, CASE WHEN status = 'queued' THEN next_attempt_at END) FROM wee5_cron.invocation WHERE id = $_[0]") }
sub waits_of { return join ', ', map { wait_of($_) } @_ }
sub calls_of { my ($path, $count) = @_; return map { $node->as_owner("SELECT invoke_cron_endpoint('$path')") } 1 .. $count }
sub queue_calls { my ($path) = @_; return $node->policy('postgres', $path, overlap => 'queue', retry_delays => '{10min}') }
sub complete_call { return $node->as_owner("SELECT wee5_cron.complete(idempotency_key) FROM wee5_cron.invocation WHERE id = $_[0]") }
$receiver->answers($_, status => 202, headers => ['Wee5-Cron: accepted']) for '/long', '/three';
queue_calls('/long');
my @turn = calls_of('/long', 1);
$node->deliver_and_harvest;
push @turn, calls_of('/long', 2);
is(waits_of(@turn), 'accepted, queued infinity, skipped overlap', 'overlap = queue: a call waits while another has not ended, and a further one is skipped');
like($node->invocation('postgres', $turn[2])->{error}, qr/\b$turn[0]\b/, '... because of that one');
is($node->as_owner("SELECT count(*) FROM wee5_cron.upcoming WHERE kind = 'call'"), 0, '... and the call that waits is not taken for one that is due');
$node->as_owner('SELECT wee5_cron.harvest()');
is(wait_of($turn[1]), 'queued infinity', '... and harvest() lets it wait');
is($node->as_owner("SELECT wee5_cron.cancel($turn[1])") . ' ' . wait_of($turn[1]), 't cancelled cancelled', 'a call that waits can be cancelled');
my @keyed = map { $node->as_owner("SELECT wee5_cron.invoke('/long', key => 'k')") } 1 .. 2;
is(waits_of(@keyed), 'cancelled cancelled, queued infinity', 'a call of the same key takes the place of the one that waits');
complete_call($turn[0]);
$node->as_owner('SELECT wee5_cron.harvest()');
is(wait_of($keyed[1]), 'queued', 'when the one before has ended, the one that waits is handed to pg_net');
$node->deliver_and_harvest;
is(wait_of($keyed[1]), 'accepted', '... and sent');
my $in_an_hour = later('/long', '1 hour');
time_passes($in_an_hour);
$node->as_owner('SELECT wee5_cron.harvest()');
is(wait_of($in_an_hour), 'queued infinity', 'a call whose time has come waits like others');
complete_call($keyed[1]);
$node->deliver_and_harvest for 1, 2;
is(wait_of($in_an_hour), 'accepted', '... and is sent');
complete_call($in_an_hour);

# ... also while the one before is to be retried.
queue_calls('/statuses/503,503,200');
@turn = calls_of('/statuses/503,503,200', 1);
$node->deliver_and_harvest;
push @turn, calls_of('/statuses/503,503,200', 1);
is(waits_of(@turn), 'retrying http, queued infinity', 'a call waits while the one before is to be retried');
$node->as_owner("SELECT wee5_cron.cancel($turn[0]); SELECT wee5_cron.harvest()");
is(wait_of($turn[1]), 'queued', '... and is handed over when that one is cancelled');
$node->deliver_and_harvest;
push @turn, calls_of('/statuses/503,503,200', 1);
is(waits_of(@turn[ 1, 2 ]), 'retrying http, queued infinity', '... and the next one waits for it');
$node->as_owner("DELETE FROM wee5_cron.invocation WHERE id = $turn[1]; SELECT wee5_cron.harvest()");
is(wait_of($turn[2]), 'queued', '... and is handed over when somebody deletes the row of the one before');
$node->deliver_and_harvest;
is(wait_of($turn[2]), 'succeeded', '... and succeeds');

# Three at the same time: one runs, one waits, one is skipped.
queue_calls('/three');
my @sessions = map { $node->background_psql('postgres', extra_params => [ '-U', 'postgres' ]) } 1 .. 3;
@turn = map { $_->query_safe("BEGIN; SELECT invoke_cron_endpoint('/three')") } @sessions;
$_->query_safe('COMMIT') for @sessions;
$_->quit for @sessions;
$node->deliver_and_harvest;
is(waits_of(@turn), 'accepted, queued infinity, skipped overlap', 'of three at the same time one is sent, one waits and one is skipped');
complete_call($turn[0]);
$node->deliver_and_harvest for 1, 2;
is(waits_of(@turn), 'succeeded, accepted, skipped overlap', '... and the one that waits is sent when the first has ended');
complete_call($turn[1]);

# pg_net loses in a crash what it has. That call is repeated first.
queue_calls('/turn/hang');
@turn = calls_of('/turn/hang', 2);
is(waits_of(@turn), 'queued, queued infinity', 'a call waits while another is in flight');
$node->restart_immediately;
$receiver->release_for_good;
$node->as_owner('SELECT wee5_cron.harvest()');
is(waits_of(@turn), 'retrying lost, queued infinity', '... also after a crash');
$node->as_owner("UPDATE wee5_cron.invocation SET next_attempt_at = now() WHERE id = $turn[0]; SELECT wee5_cron.harvest()");
$node->deliver_and_harvest for 1, 2;
is(waits_of(@turn), 'succeeded, succeeded', '... and is sent after it');
$receiver->hold;

# Calls for later, and calls with a key.
$node->raises('postgres', "SELECT wee5_cron.invoke('/a', at => $_)", '22023', "at => $_ is refused", role => 'postgres', hint => qr/within the next 10 years/) for "'infinity'", "now() + interval '10 years 1 day'";
$node->raises('postgres', "SELECT wee5_cron.invoke('/a', key => repeat('k', 201))", '22023', 'a long key is refused', role => 'postgres', message => qr/201 bytes/);
my $past = $node->as_owner("SELECT wee5_cron.invoke('/status/200?past', at => now() - interval '1 day')");
$node->deliver_and_harvest;
fields_are($node->invocation('postgres', $past), { status => 'succeeded' }, 'a call whose time has passed is sent at once');
my @trial = (later('/trial', '1 day', 'trial'));
push @trial, later('/trial', '2 days', 'trial');
$node->as_owner("BEGIN; SELECT wee5_cron.invoke('/trial', at => now() + '3 days', key => 'trial'); ROLLBACK");
is(statuses_of(@trial), 'cancelled queued', 'a newer call with the same key replaces a waiting one, unless it is rolled back');
is($node->as_owner("SELECT error FROM wee5_cron.invocation WHERE id = $trial[0]"), "Call $trial[1], which has the same key, replaced this call.", "... and the replaced call's row says so");
is($node->as_owner("SELECT wee5_cron.cancel($trial[1])"), 't', 'cancel() cancels a waiting call');
my $hour = later('/status/200?hour', '1 hour', 'hour');
is($node->as_owner("SELECT kind || ' ' || endpoint_path || ' ' || key FROM wee5_cron.upcoming WHERE invocation_id = $hour"), 'call /status/200?hour hour', 'the view upcoming shows a waiting call');
$node->deliver_and_harvest;
is(statuses_of($hour), 'queued', 'harvest() does not send a call before its time');
$node->policy('postgres', '/slow', overlap => 'skip');
my $for_later = later('/slow?ms=10&later', '1 day');
my $now = $node->as_owner("SELECT invoke_cron_endpoint('/slow?ms=1000')");
is(statuses_of($for_later, $now), 'queued queued', 'a call is not skipped for a waiting one');
my $due = later('/slow?ms=10&due', '1 hour');
time_passes($due);
ok(harvest_until($due, 'finished_at IS NOT NULL'), 'a waiting call ends after its time has come');
like(statuses_of($due), qr/^(?:skipped|succeeded)$/, '... and it was sent or skipped');
$node->as_owner("SELECT wee5_cron.cancel($for_later)");
$due = later('/status/200?due', '1 hour');
time_passes($due);
ok(harvest_until($due, "status = 'succeeded'"), 'harvest() sends a call when its time has come');
is($node->as_owner("SELECT a.started_at = i.due_at FROM wee5_cron.attempt a JOIN wee5_cron.invocation i ON i.id = a.invocation_id WHERE i.id = $due"), 't', '... and its first attempt starts at that time');
my @two = map { $node->background_psql('postgres', extra_params => [ '-U', 'postgres' ]) } 1, 2;
my @both = map { $_->query_safe("BEGIN; SELECT wee5_cron.invoke('/status/200?both', at => now() + interval '1 hour', key => 'both')") } @two;
$_->query_safe('COMMIT') for @two;
$_->quit for @two;
time_passes(@both);
ok(harvest_until($both[1], "status = 'succeeded'"), 'of two calls that did not see each other, the one with the higher id is sent');
is(statuses_of(@both), 'cancelled succeeded', '... and the other one is cancelled');

# Settings of this edition.
$node->as_owner("SELECT wee5_cron.set('missing_config', 'skip'); SELECT wee5_cron.set('vault_cron_secret', 'nothing')");
my $without = $node->as_owner("SELECT invoke_cron_endpoint('/x')");
fields_are($node->invocation('postgres', $without), { status => 'skipped', reason => 'config', error => 'app.settings.cron_secret is not set' }, "with missing_config = 'skip' a call without a secret is skipped");
$node->as_owner("SELECT wee5_cron.set('missing_config', NULL)");
$node->raises('postgres', "SELECT invoke_cron_endpoint('/x')", '55000', "... and 'error'", role => 'postgres', message => qr/app\.settings\.cron_secret is not set/);
$node->as_owner("SELECT wee5_cron.set('vault_cron_secret', NULL)");
is($node->as_owner("SELECT wee5_cron.set('wee5_cron.keep_failed', '48 h') || wee5_cron.setting('keep_failed') || wee5_cron.setting('request_timeout')"), '2d30d30s', 'set() returns the stored value');
is($node->as_owner("SELECT wee5_cron.setting('keep_failed')"), '2d', '... and the next statement reads it');
$node->raises('postgres', "SELECT wee5_cron.set($_->[0])", $_->[1], "set($_->[0]) is refused", role => 'postgres')
  for [ "'request_timeout', '-1'", '22023' ], [ "'request_timeout', 'soon'", '22023' ], [ "'proxy', 'x'", '0A000' ], [ "'colour', 'x'", '42704' ], [ "'enabled', 'maybe'", '22023' ];
$node->as_owner("SELECT wee5_cron.set('enabled', 'off')");
$node->raises('postgres', "SELECT invoke_cron_endpoint('/x')", '55000', 'enabled is off', role => 'postgres', hint => qr/wee5_cron\.set\('enabled', 'on'\)/);
is($node->as_owner("SELECT status || ' ' || detail FROM wee5_cron.doctor() WHERE check_name = 'enabled'"), 'error wee5_cron.enabled is off: this database makes no calls', '... and doctor() speaks of this database alone');
is($node->as_owner("SELECT hint FROM wee5_cron.doctor() WHERE check_name = 'enabled'"), "SELECT wee5_cron.set('enabled', 'on');\n-- unless this project is a copy that must not call", '... and its hint is for the owner of a project');
$node->as_owner($node->as_owner("SELECT hint FROM wee5_cron.doctor() WHERE check_name = 'enabled'"));
is($node->as_owner("SELECT status FROM wee5_cron.doctor() WHERE check_name = 'enabled'"), 'ok', '... which turns it on');
$node->as_owner("SELECT wee5_cron.set('enabled', NULL)");

# On the tick, as the job's owner.
is($node->as_owner('SELECT wee5_cron.register_jobs(force => true)'), 1, 'register_jobs(force => true) makes the harvest job again');
$node->as_owner("SELECT wee5_cron.schedule('ticking', '* * * * *', '/status/200?tick')");
my $ticked = "SELECT count(*) > 0 FROM wee5_cron.invocation WHERE job_name = 'ticking'";
$node->poll_query_until('postgres', $ticked) or die "no tick came\n";
# Nothing sends a second call before the test looks.
$node->as_owner("SELECT wee5_cron.schedule('ticking', '0 0 1 1 *', '/status/200?tick')");
my ($id) = split /\n/, $node->as_owner("SELECT id FROM wee5_cron.invocation WHERE job_name = 'ticking' ORDER BY id LIMIT 1");
$node->deliver;
# The job wee5-cron-harvest records it, at the next tick.
my $tick = $node->invocation_when('postgres', $id, "status = 'succeeded' AND cron_run_id IS NOT NULL");
fields_are($tick, { status => 'succeeded', http_status => 200, scheduled_at => qr/:00[+.]/, exclusive => 'path' }, "pg_cron's tick calls the app, and the harvest job records the answer");
($request) = grep { $_->{url} =~ /\?tick/ } $receiver->requests('/status/200');
my %sent = map { lc $_ => $request->{headers}{$_} } keys %{ $request->{headers} };
fields_are(\%sent, { 'x-wee5-cron-job' => 'ticking', 'x-vercel-cron-schedule' => '* * * * *', 'idempotency-key' => qr/^\w{8}-\w{4}-8/ }, '... and the request has the headers of a job');
is($node->as_owner("SELECT state FROM wee5_cron.job_status WHERE job_name = 'ticking'"), 'ok', '... and job_status says ok');
$node->as_owner("SELECT wee5_cron.pause('ticking', 'a pause')");
is($node->as_owner("SELECT state FROM wee5_cron.job_status WHERE job_name = 'ticking'"), 'paused', "pause() uses pg_cron's functions, since its table is read-only");
is($node->as_owner("SELECT wee5_cron.unschedule('ticking')"), 't', '... and so does unschedule()');
$node->log_is_sane;
done_testing();
