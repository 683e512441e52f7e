# The worker writes results directly into table and indexes, as long as these are as the extension created them. If a user
# has added a constraint or a trigger, it writes by statements, which obey both and cost several times as much.
use FindBin;
use lib "$FindBin::RealBin/../support";
use Wee5Cron::Test;

my $receiver = Wee5Cron::Receiver->start(secret => 'the secret');
my $node = Wee5Cron::Node->start_new('main', preload => 'pg_stat_statements,pg_cron,wee5_cron', conf => 'pg_stat_statements.track = all');
$node->install('postgres', api_url => $receiver->url, secret => 'the secret');
$node->safe_psql('postgres', 'CREATE EXTENSION pg_stat_statements');

# How many statements recorded the results of calls that succeed and of calls that fail, by hand and with a policy.
sub booking_statements {
    $node->safe_psql('postgres', 'SELECT pg_stat_statements_reset()');
    $node->safe_psql('postgres', "SELECT count(invoke_cron_endpoint('/status/' || s)) FROM generate_series(1, 20), unnest(array[200, 404, 500]) s");
    $node->wait_until_all_finished('postgres');
    is($node->safe_psql('postgres', "SELECT count(*) FILTER (WHERE status = 'succeeded'), count(*) FILTER (WHERE status = 'failed') FROM wee5_cron.invocation"), '20|40', 'each call has its result');
    $node->safe_psql('postgres', 'DELETE FROM wee5_cron.invocation');
    return $node->safe_psql('postgres', q{SELECT coalesce(sum(calls), 0) FROM pg_stat_statements WHERE query LIKE 'WITH result AS%wee5_cron.attempt%'});
}

is(booking_statements(), 0, "with the extension's own tables no statement records results");
my $alter = 'ALTER TABLE wee5_cron.invocation';
$node->safe_psql('postgres', "$alter ADD CONSTRAINT few_attempts CHECK (attempts < 1000)");
cmp_ok(booking_statements(), '>', 0, "with a user's constraint a statement records results");
$node->safe_psql('postgres', "$alter DROP CONSTRAINT few_attempts");
is(booking_statements(), 0, '... and no statement does after it is dropped');

my $refused = () = $receiver->requests('/status/404');
# A result that the constraint refuses is not recorded. A user's constraint that replaces one of the extension's, even under
# its name, is not mistaken for it.
sub refused {
    my ($change, $undo, $constraint, $name) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    $node->safe_psql('postgres', $change);
    my $id = $node->call('postgres', '/status/404');
    $node->poll_query_until('postgres', "SELECT state = 'blocked' AND last_error LIKE '%\"$constraint\"%' FROM wee5_cron.worker")
      or fail("$name: the worker is not blocked");
    fields_are($node->invocation('postgres', $id), { finished_at => undef, http_status => undef }, "$name: a result that violates it is not recorded");
    $node->safe_psql('postgres', $undo);
    fields_are($node->finished('postgres', $id), { status => 'failed', http_status => 404 }, '... and is recorded once the constraint is dropped');
    is(scalar(() = $receiver->requests('/status/404')), ++$refused, '... after one request');
    $node->safe_psql('postgres', 'DELETE FROM wee5_cron.invocation');
    return;
}
refused("$alter ADD CONSTRAINT no_errors CHECK (http_status < 400)", "$alter DROP CONSTRAINT no_errors", 'no_errors', 'a CHECK constraint');
my $own = $node->safe_psql('postgres', q{SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = 'invocation_status_check'});
refused("$alter DROP CONSTRAINT invocation_status_check, ADD CONSTRAINT invocation_status_check CHECK (status <> 'failed')",
    "$alter DROP CONSTRAINT invocation_status_check, ADD CONSTRAINT invocation_status_check $own", 'invocation_status_check',
    "a constraint in the place of the extension's own");
refused("$alter ADD CONSTRAINT alone EXCLUDE USING btree (http_status WITH =) WHERE (http_status = 404);"
      . " INSERT INTO wee5_cron.invocation (endpoint_path, transport, status, http_status, finished_at) VALUES ('/x', 'builtin', 'failed', 404, now())",
    "$alter DROP CONSTRAINT alone", 'alone', 'an exclusion constraint');
refused("$alter ADD CONSTRAINT hinted CHECK (hint IS NULL OR finished_at IS NULL)", "$alter DROP CONSTRAINT hinted", 'hinted',
    'a constraint over several columns');
is(booking_statements(), 0, "with the extension's own constraint again no statement records results");

$node->log_is_sane;
done_testing();
