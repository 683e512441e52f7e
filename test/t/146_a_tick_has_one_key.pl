# The Idempotency-Key of a job's call for a tick: it is the same wherever that job runs for that tick and differs for
# everything else. Nobody can compute it without what arm() stored.
use FindBin;
use lib "$FindBin::RealBin/../support";
use Wee5Cron::Test;

use JSON::PP;

my $node = Wee5Cron::Node->start_new('main');
$node->install('postgres', api_url => 'http://127.0.0.1:9', secret => 'the secret');
$node->safe_psql('postgres', 'CREATE ROLE other LOGIN SUPERUSER');
# No call needs to end here: the queued rows are what matters.
$node->set_server('wee5_cron.max_in_flight', 1);
$node->policy('postgres', $_, overlap => 'allow') for '/x', '/y', '/body';

my $random = qr/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-/;
my $v8     = qr/^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

sub schedule {
    my ($name, $command, %params) = @_;
    my $schedule = $params{schedule} // '0 0 1 1 *';
    my @as = $params{role} ? (extra_params => [ '-U', $params{role} ]) : ();
    return $node->safe_psql('postgres', "SELECT cron.schedule('$name', '$schedule', \$cron\$$command\$cron\$)", @as);
}

# Runs the job's command as pg_cron does, and returns the keys of its calls.
sub run_of {
    my ($command, %params) = @_;
    my $database = $params{database} // 'postgres';
    my $last = $node->safe_psql($database, 'SELECT coalesce(max(id), 0) FROM wee5_cron.invocation');
    # psql cuts a statement at its semicolon; \; keeps it within.
    my $sent = $command;
    $sent =~ s/;(?=.)/\\;/gs if !$params{whole};
    my $as = $params{role} ? " user=$params{role}" : '';
    $node->safe_psql($database, $sent, connstr => $node->connstr($database) . " application_name=pg_cron$as");
    return map { $_->{idempotency_key} } $node->rows($database, "SELECT idempotency_key FROM wee5_cron.invocation WHERE id > $last ORDER BY id");
}

# One tick, one key.
my $command = q{SELECT invoke_cron_endpoint('/x')};
schedule('x', $command);
my ($key) = run_of($command);
like($key, $v8, 'the key of a job\'s call is a UUID of version 8');
is((run_of($command))[0], $key, 'another run for the same tick has the same key');
is((run_of($command, database => 'postgres'))[0], $key, '... and so has a third');
$node->restart_immediately;
is((run_of($command))[0], $key, '... and so has one after a crash');
fields_are($node->one_row('postgres', "SELECT count(DISTINCT scheduled_at) AS ticks, count(*) FILTER (WHERE job_name = 'x') AS named, count(*) AS calls FROM wee5_cron.invocation"),
    { ticks => 1, named => 4, calls => 4 }, "... and all four calls belong to the job's one tick");

# A run that makes up for a missed one has the key of the missed run.
my $tick = $node->safe_psql('postgres', 'SELECT max(scheduled_at) FROM wee5_cron.invocation');
my $made_up = $node->safe_psql('postgres', "SELECT wee5_cron.invoke_for_job('x', '/x', session_user::name, '0 0 1 1 *', '$tick')");
is($node->invocation('postgres', $made_up)->{idempotency_key}, $key, "a run that makes up for a missed one has the missed tick's key");
isnt($node->invocation('postgres', $node->safe_psql('postgres', "SELECT wee5_cron.invoke_for_job('x', '/x', session_user::name, '0 0 1 1 *', '$tick'::timestamptz - interval '1 year')"))->{idempotency_key},
    $key, '... and not the key of any other tick');

# Calls that differ only in their number: of a statement, a transaction, across savepoints, and across the commits of a
# procedure.
my %seen = ($key => 1);
my $all_new = sub {
    my ($name, $count, @keys) = @_;
    is(scalar(@keys), $count, "$name: there are $count calls");
    is(scalar(grep { !$seen{$_}++ } @keys), $count, '... each with its own key');
    is(scalar(grep { $_ =~ $v8 } @keys), $count, '... which is a UUID of version 8');
};
my $thrice = q{SELECT invoke_cron_endpoint('/y') FROM generate_series(1, 3)};
schedule('thrice', $thrice);
my @three = run_of($thrice);
$all_new->('three calls of a statement', 3, @three);
is_deeply([ run_of($thrice) ], \@three, '... and another run for that tick has the same keys');
my $savepoints = q{BEGIN; SELECT invoke_cron_endpoint('/y'); SAVEPOINT a; SELECT invoke_cron_endpoint('/y'); ROLLBACK TO a; SELECT invoke_cron_endpoint('/y'); RELEASE a; SELECT invoke_cron_endpoint('/y'); COMMIT};
schedule('savepoints', $savepoints);
$all_new->('three calls around a savepoint', 3, run_of($savepoints));
my $caught = q{DO $do$ BEGIN FOR i IN 1 .. 3 LOOP BEGIN PERFORM invoke_cron_endpoint('/y'); IF i = 2 THEN RAISE 'no'; END IF; EXCEPTION WHEN raise_exception THEN NULL; END; END LOOP; END $do$};
schedule('caught', $caught);
$all_new->('two calls around one that was rolled back', 2, run_of($caught, whole => 1));
my $commits = q{DO $do$ BEGIN FOR i IN 1 .. 3 LOOP PERFORM invoke_cron_endpoint('/y'); COMMIT; END LOOP; END $do$};
schedule('commits', $commits);
$all_new->('three calls with a commit behind each', 3, run_of($commits, whole => 1));

# Everything else that makes the key differ.
my @others = (
    [ 'another name',   q{SELECT invoke_cron_endpoint('/x') /* n */} ],
    [ 'another path',   q{SELECT invoke_cron_endpoint('/x?y')} ],
    [ 'another method', q{SELECT wee5_cron.invoke('/x', 'PUT')} ],
    [ 'a body',         q{SELECT wee5_cron.invoke('/x', 'PUT', '{"a": 1}')} ],
    [ 'another body',   q{SELECT wee5_cron.invoke('/x', 'PUT', '{"a": 2}')} ],
);
for my $other (@others) {
    my ($name, $sql) = @$other;
    schedule($name, $sql);
    $all_new->($name, 1, run_of($sql));
}
schedule('x', $command, role => 'other');
$all_new->('another owner', 1, run_of($command, role => 'other'));
# No tick that pg_cron itself reaches here: its call would be taken for that of a run of the test.
schedule('another day', q{SELECT invoke_cron_endpoint('/x') /* day */}, schedule => '0 0 2 1 *');
$all_new->('another tick', 1, run_of(q{SELECT invoke_cron_endpoint('/x') /* day */}));

# Calls without a tick that another database could know have random keys.
like($node->invocation('postgres', $node->call('postgres', '/x'))->{idempotency_key}, $random, 'a call made by hand has a random key');
schedule('plain', q{SELECT invoke_cron_endpoint('/x?plain')});
for (1 .. 2) {
    my $row = $node->invocation('postgres', $node->safe_psql('postgres', "SELECT wee5_cron.run_now('plain')"));
    like($row->{idempotency_key}, $random, 'a call by run_now() has a random key');
}
my $nameless = q{SELECT invoke_cron_endpoint('/x') /* nameless */};
$node->safe_psql('postgres', "SELECT cron.schedule('0 0 1 1 *', \$cron\$$nameless\$cron\$)");
like((run_of($nameless))[0], $random, 'a call of a job without a name has a random key');
my $seconds = q{SELECT invoke_cron_endpoint('/x') /* seconds */};
SKIP: {
    skip 'this pg_cron has no seconds', 1
      if !eval { schedule('seconds', $seconds, schedule => '30 seconds'); 1 };
    like((run_of($seconds))[0], $random, 'a call of a job that runs every few seconds has a random key');
}
my $twin = q{SELECT invoke_cron_endpoint('/x') /* twin */};
schedule($_, $twin) for 'twin 1', 'twin 2';
like((run_of($twin))[0], $random, 'a call of one of two jobs with the same command has a random key');

# retry() keeps the key.
$node->safe_psql('postgres', 'UPDATE wee5_cron.invocation SET status = \'failed\', finished_at = now() WHERE finished_at IS NULL');
my $again = $node->safe_psql('postgres', "SELECT wee5_cron.retry(min(id)) FROM wee5_cron.invocation WHERE idempotency_key = '$key'");
fields_are($node->invocation('postgres', $again), { idempotency_key => $key, job_name => 'x', headers => qr/./ }, 'retry() of a job\'s call keeps the key');
like(JSON::PP->new->canonical->encode($node->invocation('postgres', $again)->{headers}), qr/"x-vercel-cron-schedule":"0 0 1 1 \*"/, '... and its schedule header');

# After arm(), or in another project, the keys are different.
$node->safe_psql('postgres', 'SELECT wee5_cron.disarm(); SELECT wee5_cron.arm(true)');
isnt((run_of($command))[0], $key, 'after another arm() the same tick has another key');
$node->raises('postgres', 'SET ROLE pg_read_all_settings; SELECT id FROM wee5_cron.arming', '42501', 'an ordinary role cannot read what the keys are made from');

# If the ledger requires a statement, the keys are the same.
my ($direct) = run_of($command);
$node->safe_psql('postgres', <<'SQL');
CREATE FUNCTION public.nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN new; END';
CREATE TRIGGER nothing BEFORE INSERT ON wee5_cron.invocation FOR EACH ROW EXECUTE FUNCTION public.nothing();
SQL
is((run_of($command))[0], $direct, "with a trigger on the ledger the key of a job's call is the same");
like($node->invocation('postgres', $node->call('postgres', '/x'))->{idempotency_key}, $random, '... and a call made by hand has a random key');

$node->log_is_sane;
done_testing();
