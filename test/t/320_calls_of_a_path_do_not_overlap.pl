# overlap: a call is skipped while an earlier one of its path has not ended. By default this applies to jobs' calls; an
# endpoint row can apply it to all. The worker decides when the caller could not see the other call.
use FindBin;
use lib "$FindBin::RealBin/../support";
use Wee5Cron::Editions;
use Wee5Cron::Test;

my $receiver = Wee5Cron::Receiver->start(secret => 'the secret');
my $node = Wee5Cron::Editions->start_node('main');
$node->install('postgres', api_url => $receiver->url, secret => 'the secret');

# Like a session of pg_cron: application_name says that a job calls.
sub by_job {
    my ($path, $role) = @_;
    my $as = $role ? " user=$role" : '';
    return $node->safe_psql('postgres', "SELECT invoke_cron_endpoint('$path')", connstr => $node->connstr('postgres') . " application_name=pg_cron$as");
}

sub statuses_of {
    my ($pattern) = @_;
    return $node->safe_psql('postgres',
        "SELECT string_agg(concat_ws('/', status, reason), ' ' ORDER BY id) FROM wee5_cron.invocation WHERE endpoint_path LIKE '$pattern'");
}

# On the portable edition a call waits in pg_net's queue until the test lets it deliver.
$receiver->release_for_good if $node->is_portable;
sub arrives { return $node->is_portable ? () : $receiver->wait_for_requests(@_) }
sub all_end { $receiver->release unless $node->is_portable; return $node->wait_until_all_finished('postgres') }

# The defaults.
my $first = $node->call('postgres', '/hang');
arrives('/hang');
my $skipped = by_job('/hang');
fields_are(
    $node->invocation('postgres', $skipped),
    {
        status      => 'skipped',
        reason      => 'overlap',
        attempts    => 0,
        finished_at => qr/^2/,
        error       => qr{\b$first\b.*/hang},
        hint        => qr/INSERT INTO wee5_cron\.endpoint .*'allow'/,
    },
    "a job's call is skipped while an earlier call of its path has not ended");
fields_are($node->one_row('postgres', "SELECT * FROM wee5_cron.wait_for($skipped)"), { status => 'skipped' }, '... and ends with that');
fields_are($node->invocation('postgres', by_job('/hang?of=other')), { status => qr{^(?:queued|sending)$} }, 'a call of the path with another query is made');
my $by_hand = $node->call('postgres', '/hang');
fields_are($node->invocation('postgres', $by_hand), { status => qr{^(?:queued|sending)$} }, 'a call made by hand is not skipped');
arrives('/hang', 3);
my $hint = $node->invocation('postgres', $skipped)->{hint};
my ($sql) = $hint =~ /(INSERT .*;)/;
$node->safe_psql('postgres', $sql);
$node->invocation_when('postgres', by_job('/hang'), "status IN ('queued', 'sending')");
pass('after the hint calls of jobs may overlap');
arrives('/hang', 4);
all_end();
$node->safe_psql('postgres', 'DELETE FROM wee5_cron.endpoint WHERE true');
is($node->finished('postgres', by_job('/done'))->{status}, 'succeeded', "a job's call is made when the earlier call has ended");
is($node->finished('postgres', by_job('/done'))->{status}, 'succeeded', '... and so is the next one');

# An endpoint row: it applies to calls by hand, too, with a notice, whatever the query.
$node->policy('postgres', '/one/hang', overlap => 'skip');
$first = $node->call('postgres', '/one/hang?n=1');
my ($status, $stdout, $stderr) = $node->psql('postgres', "SELECT invoke_cron_endpoint('/one/hang?n=2')");
like($stderr, qr{NOTICE:.*call $first of '/one/hang\?n=2'|NOTICE:.*call $first}, 'a call made by hand that is skipped raises a NOTICE');
is($node->invocation('postgres', $stdout)->{reason}, 'overlap', '... and an endpoint row without a query covers calls with any query');
$node->policy('postgres', '/one/hang?n=3', overlap => 'allow');
is($node->invocation('postgres', $node->call('postgres', '/one/hang?n=3'))->{reason}, undef, '... except those that have their own row');
arrives('/one/hang', 2);
all_end();

# A call that waits for its next attempt has not ended, either.
$node->policy('postgres', '/statuses/503,200', overlap => 'skip', retry_delays => '{10min}');
$first = $node->call('postgres', '/statuses/503,200');
$node->invocation_when('postgres', $first, "status = 'retrying'");
is($node->invocation('postgres', $node->call('postgres', '/statuses/503,200'))->{reason}, 'overlap', 'a call is skipped while an earlier one waits for its retry');
$node->safe_psql('postgres', "UPDATE wee5_cron.invocation SET next_attempt_at = now() WHERE id = $first; SELECT wee5_cron.wake_worker()");
is($node->finished('postgres', $first)->{status}, 'succeeded', '... and the earlier one succeeds');

Wee5Cron::Editions->needs_the_worker($node);

# A role may have an app of its own: the same path is another route there.
my $other = Wee5Cron::Receiver->start(secret => 'the secret');
$node->safe_psql('postgres', "CREATE ROLE tenant LOGIN; CREATE ROLE colleague LOGIN; SELECT wee5_cron.grant_to(r, 'call') FROM unnest('{tenant,colleague}'::regrole[]) r; ALTER ROLE tenant SET app.settings.api_url = '@{[ $other->url ]}'");
$first = by_job('/tenants/hang');
$receiver->wait_for_requests('/tenants/hang');
by_job('/tenants/hang', 'tenant');
$other->wait_for_requests('/tenants/hang');
pass("a call to another role's app is not skipped");
is($node->invocation('postgres', by_job('/tenants/hang', 'tenant'))->{reason}, 'overlap', '... but a second one to that app is');
is($node->invocation('postgres', by_job('/tenants/hang', 'colleague'))->{reason}, 'overlap', '... and so is one by another role that has the same app');
$_->release for $receiver, $other;
$node->wait_until_all_finished('postgres');

# At the same time: the caller cannot see the other call, but the worker can.
$node->policy('postgres', '/race/hang', overlap => 'skip');
my @sessions = map { $node->background_psql('postgres') } 1 .. 4;
$_->query_safe("BEGIN; SELECT invoke_cron_endpoint('/race/hang')") for @sessions;
$_->query_safe('COMMIT') for @sessions;
$node->poll_query_until('postgres', "SELECT count(*) = 3 FROM wee5_cron.invocation WHERE endpoint_path = '/race/hang' AND status = 'skipped'");
$receiver->wait_for_requests('/race/hang');
is(join(' ', sort split / /, statuses_of('/race/hang') =~ s/queued|sending/runs/r), 'runs skipped/overlap skipped/overlap skipped/overlap', 'of four calls at the same time one is made');
$receiver->release;
$node->wait_until_all_finished('postgres');
is(scalar(my @ran = $receiver->requests('/race/hang')), 1, '... and reaches the app once');

# A call that is rolled back causes no skip.
$sessions[0]->query_safe("BEGIN; SELECT invoke_cron_endpoint('/race/undone')");
$node->policy('postgres', '/race/undone', overlap => 'skip');
$sessions[0]->query_safe("ROLLBACK; BEGIN; SELECT invoke_cron_endpoint('/race/undone')");
my $second = $node->call('postgres', '/race/undone');
$sessions[0]->query_safe('ROLLBACK');
is($node->finished('postgres', $second)->{status}, 'succeeded', 'a call is made if the other one is rolled back');

# Two sessions call two paths in opposite order: neither waits.
$node->policy('postgres', "/cross/$_", overlap => 'skip') for qw(a b);
$sessions[0]->query_safe("BEGIN; SELECT invoke_cron_endpoint('/cross/a')");
$sessions[1]->query_safe("BEGIN; SELECT invoke_cron_endpoint('/cross/b'); SELECT invoke_cron_endpoint('/cross/a')");
$sessions[0]->query_safe("SELECT invoke_cron_endpoint('/cross/b')");
$_->query_safe('COMMIT') for @sessions[ 0, 1 ];
$node->wait_until_all_finished('postgres');
is($node->safe_psql('postgres', "SELECT count(*) FROM wee5_cron.invocation WHERE endpoint_path LIKE '/cross/%' AND status NOT IN ('succeeded', 'skipped')"), 0,
    'two transactions that call two paths in opposite order both commit');
$_->quit for @sessions;

# queue: one call waits until the one before has ended, and further ones are skipped.
sub wait_of { return $node->safe_psql('postgres', "SELECT concat_ws(' ', status, reason, next_attempt_at) FROM wee5_cron.invocation WHERE id = $_[0]") }
$node->policy('postgres', '/turn/hang', overlap => 'queue');
my @turn = map { $node->call('postgres', '/turn/hang') } 1 .. 2;
$receiver->wait_for_requests('/turn/hang', 1);
is(wait_of($turn[1]), 'queued infinity', 'overlap = queue: a call waits while another has not ended');
my $third = $node->call('postgres', '/turn/hang');
fields_are($node->invocation('postgres', $third), { status => 'skipped', reason => 'overlap', error => qr/\b$turn[0]\b/ }, '... and a further one is skipped');
is($node->safe_psql('postgres', 'SELECT count(*) FROM wee5_cron.upcoming'), 0, '... and it is not taken for a call that is due');
$receiver->release;
fields_are($node->finished('postgres', $turn[0]), { status => 'succeeded' }, '... and the one before succeeds');
$receiver->wait_for_requests('/turn/hang', 2);
is(wait_of($third), 'skipped overlap', '... and then the call that waits is sent, and not the one that was skipped');
push @turn, $node->call('postgres', '/turn/hang');
is(wait_of($turn[2]), 'queued infinity', '... and the next one waits for it');
ok($node->safe_psql('postgres', "SELECT wee5_cron.cancel($turn[2])") eq 't' && $node->finished('postgres', $turn[2])->{status} eq 'cancelled', 'a call that waits can be cancelled');
push @turn, $node->call('postgres', '/turn/hang');
$node->stop('immediate');
$node->start;
$receiver->wait_for_requests('/turn/hang', 3);
is(wait_of($turn[3]), 'queued infinity', 'after a crash it still waits: the one before is repeated first');
$receiver->release;
$receiver->wait_for_requests('/turn/hang', 4);
is(($receiver->requests('/turn/hang'))[-1]{headers}{'x-wee5-cron-invocation'}, $turn[3], '... and is sent after it');
my ($replaced, $newer) = map { $node->safe_psql('postgres', "SELECT wee5_cron.invoke('/turn/hang', key => 'k')") } 1 .. 2;
is(wait_of($replaced) . ', ' . wait_of($newer), 'cancelled cancelled, queued infinity', 'a call of the same key takes the place of the one that waits');
$node->safe_psql('postgres', "SELECT wee5_cron.cancel($turn[3])");
$receiver->wait_for_requests('/turn/hang', 5);
is(($receiver->requests('/turn/hang'))[-1]{headers}{'x-wee5-cron-invocation'}, $newer, 'when the one in flight is cancelled, the next one is sent');
my $at = $node->safe_psql('postgres', "SELECT wee5_cron.invoke('/turn/hang', at => clock_timestamp() + interval '100 ms')");
$node->invocation_when('postgres', $at, "next_attempt_at = 'infinity'");
pass('a call whose time has come waits like others');
$receiver->release_for_good;
is($node->finished('postgres', $at)->{status}, 'succeeded', '... and is sent');
$receiver->hold;

# ... also while the one before is to be retried, or the app works on it.
$node->policy('postgres', '/statuses/503,200,200', overlap => 'queue', retry_delays => '{10min}');
@turn = map { $node->call('postgres', '/statuses/503,200,200') } 1 .. 2;
$node->invocation_when('postgres', $turn[0], "status = 'retrying'");
is(wait_of($turn[1]), 'queued infinity', 'a call waits while the one before is to be retried');
$node->safe_psql('postgres', "UPDATE wee5_cron.invocation SET next_attempt_at = now() WHERE id = $turn[0]; SELECT wee5_cron.wake_worker()");
is($node->finished('postgres', $turn[1])->{status}, 'succeeded', '... and is sent after its end');
$node->policy('postgres', '/status/503', overlap => 'queue', retry_delays => '{10min}');
@turn = map { $node->call('postgres', '/status/503') } 1 .. 2;
$node->invocation_when('postgres', $turn[0], "status = 'retrying'");
is(wait_of($turn[1]), 'queued infinity', 'a call waits');
$node->safe_psql('postgres', "DELETE FROM wee5_cron.invocation WHERE id = $turn[0]");
$node->invocation_when('postgres', $turn[1], "status = 'retrying'");
pass('... and is sent when somebody deletes the row of the one before');
$node->safe_psql('postgres', "SELECT wee5_cron.cancel($turn[1])");
$node->finished('postgres', $turn[1]);
$receiver->answers('/long', status => 202, headers => ['Wee5-Cron: accepted']);
$node->policy('postgres', '/long', overlap => 'queue');
@turn = map { $node->call('postgres', '/long') } 1 .. 2;
$node->invocation_when('postgres', $turn[0], "status = 'accepted'");
is(wait_of($turn[1]), 'queued infinity', 'a call waits while the app works on the one before');
$node->safe_psql('postgres', "SELECT wee5_cron.complete(idempotency_key) FROM wee5_cron.invocation WHERE id = $turn[0]");
$node->invocation_when('postgres', $turn[1], "status = 'accepted'");
pass('... until complete()');
$node->safe_psql('postgres', "SELECT wee5_cron.complete(idempotency_key) FROM wee5_cron.invocation WHERE id = $turn[1]");

# Three at the same time: one runs, one waits, one is skipped.
$node->policy('postgres', '/three/hang', overlap => 'queue');
@sessions = map { $node->background_psql('postgres') } 1 .. 3;
$_->query_safe("BEGIN; SELECT invoke_cron_endpoint('/three/hang')") for @sessions;
$_->query_safe('COMMIT') for @sessions;
$_->quit for @sessions;
$receiver->wait_for_requests('/three/hang');
$node->poll_query_until('postgres', "SELECT count(*) = 1 FROM wee5_cron.invocation WHERE endpoint_path = '/three/hang' AND status = 'skipped'");
is($node->safe_psql('postgres', "SELECT count(*) FROM wee5_cron.invocation WHERE endpoint_path = '/three/hang' AND next_attempt_at = 'infinity'"), 1, 'of three at the same time one waits');
$receiver->release_for_good;
$node->wait_until_all_finished('postgres');
$receiver->hold;
is($node->safe_psql('postgres', "SELECT count(*) FROM wee5_cron.invocation WHERE endpoint_path = '/three/hang' AND status = 'succeeded'"), 2, '... and two are made');

# Many in one transaction: all but the first are skipped, and the cost does not grow with the square of their number.
$node->policy('postgres', '/many', overlap => 'skip');
$node->policy('postgres', '/others', overlap => undef);
my $work = sub {
    my ($count, $path) = @_;
    # Reads are counted, not time, which depends on the machine.
    return $node->safe_psql('postgres', <<SQL, connstr => $node->connstr('postgres') . ' application_name=pg_cron');
SET client_min_messages = warning;
BEGIN;
CREATE TEMP TABLE b AS SELECT pg_stat_get_xact_blocks_fetched('wee5_cron.invocation'::regclass) + pg_stat_get_xact_blocks_fetched('wee5_cron.invocation_unfinished'::regclass) AS n;
DO \$\$ BEGIN PERFORM invoke_cron_endpoint($path) FROM generate_series(1, $count) n; END \$\$;
SELECT pg_stat_get_xact_blocks_fetched('wee5_cron.invocation'::regclass) + pg_stat_get_xact_blocks_fetched('wee5_cron.invocation_unfinished'::regclass) - n FROM b;
ROLLBACK;
SQL
};
for my $path (q{'/many'}, q{'/many?n=' || n}, q{'/others?n=' || n}) {
    my ($few, $many) = map { $work->($_, $path) } 200, 2000;
    cmp_ok($many, '<', 25 * $few, "ten times the calls of $path read about ten times as much ($few, $many)");
}
$node->safe_psql('postgres', "SET client_min_messages = warning; SELECT count(invoke_cron_endpoint('/many')) FROM generate_series(1, 1000) n");
$node->wait_until_all_finished('postgres');
is($node->safe_psql('postgres', "SELECT string_agg(status || ' ' || n, ', ' ORDER BY status) FROM (SELECT status, count(*) AS n FROM wee5_cron.invocation WHERE endpoint_path = '/many' GROUP BY status) s"),
    'skipped 999, succeeded 1', 'of a thousand calls in one transaction one is made');

# After a crash the worker reads the queue again, and makes its calls in their order.
$node->set_server('wee5_cron.max_in_flight', 1);
$receiver->hold;
my $blocker = $node->block_the_wire('postgres', $receiver);
$node->policy('postgres', '/queue', overlap => 'allow');
my @queued = map { $node->call('postgres', '/queue') } 1 .. 3;
$node->stop('immediate');
$node->start;
$receiver->release_for_good;
is_deeply([ map { $node->finished('postgres', $_)->{status} } @queued ], [ ('succeeded') x 3 ], 'calls that were queued before a crash are made after it');
is($node->safe_psql('postgres', "SELECT string_agg(id::text, ' ' ORDER BY first_sent_at) FROM wee5_cron.invocation WHERE endpoint_path = '/queue'"),
    "@queued", '... in their order');

$node->log_is_sane;
done_testing();
