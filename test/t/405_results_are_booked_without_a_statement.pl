# The worker writes results straight into table and indexes, as long as these are as the extension made them. Where somebody
# has added a constraint or a trigger it books by statements, which obey both and cost several times as much.
use FindBin;
use lib "$FindBin::RealBin/../support";
use Wee5Cron::Test;

my $receiver = Wee5Cron::Receiver->start(secret => 'the secret');
my $node = Wee5Cron::Node->start_new('main', preload => 'pg_stat_statements,pg_cron,wee5_cron', conf => 'pg_stat_statements.track = all');
$node->install('postgres', api_url => $receiver->url, secret => 'the secret');
$node->safe_psql('postgres', 'CREATE EXTENSION pg_stat_statements');

# How many statements booked the results of calls that succeed and of ones that fail, by hand and with a policy.
sub booking_statements {
    $node->safe_psql('postgres', 'SELECT pg_stat_statements_reset()');
    $node->safe_psql('postgres', "SELECT count(invoke_cron_endpoint('/status/' || s)) FROM generate_series(1, 20), unnest(array[200, 404, 500]) s");
    $node->wait_until_all_finished('postgres');
    is($node->safe_psql('postgres', "SELECT count(*) FILTER (WHERE status = 'succeeded'), count(*) FILTER (WHERE status = 'failed') FROM wee5_cron.invocation"), '20|40', 'each has its result');
    $node->safe_psql('postgres', 'DELETE FROM wee5_cron.invocation');
    return $node->safe_psql('postgres', q{SELECT coalesce(sum(calls), 0) FROM pg_stat_statements WHERE query LIKE 'WITH result AS%wee5_cron.attempt%'});
}

is(booking_statements(), 0, 'as the extension made it, no statement books');
$node->safe_psql('postgres', 'ALTER TABLE wee5_cron.invocation ADD CHECK (attempts < 1000)');
cmp_ok(booking_statements(), '>', 0, 'with a constraint of its user it is a statement, which the constraint can refuse');

$node->log_is_sane;
done_testing();
