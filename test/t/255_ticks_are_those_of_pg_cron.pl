# Our reader of schedules agrees with pg_cron: pg_cron itself runs several hundred random expressions on a clock that the
# test moves.
use FindBin;
use lib "$FindBin::RealBin/../support";
use Wee5Cron::Test;

use Time::Local qw(timegm);
use Wee5Cron::StillClock;

my $seed = $ENV{WEE5_SEED} // 20261123;
srand $seed;
note "seed $seed";

my $node = Wee5Cron::Node->new_configured('main', preload => 'pg_cron', conf => <<'CONF');
cron.timezone = 'Europe/Berlin'
cron.max_running_jobs = 32
max_connections = 60
autovacuum = off
CONF
# By connections: pg_cron waits up to a second for a background worker.
$node->append_conf('postgresql.conf', "cron.use_background_workers = off\ncron.host = '@{[ $node->host ]}'\ncron.log_statement = off");
# From here on the clock only moves forward: after it is set back, pg_cron waits until it has caught up.
my $clock = Wee5Cron::StillClock->new('2026-01-01 12:30:00');
$clock->start($node);
$node->safe_psql('postgres', 'CREATE EXTENSION wee5_cron; CREATE EXTENSION pg_cron');

# A field of an expression: lists, ranges, steps, names, and sometimes a text that no cron understands.
sub pick { return $_[ int rand @_ ] }

sub field {
    my ($low, $high, @names) = @_;
    my $number = sub { return @names && rand() < 0.3 ? pick(@names) : $low + int rand($high - $low + 1) };
    my @parts = map {
        my $first = $number->();
        my $kind  = rand;
            $kind < 0.06 ? '*'
          : $kind < 0.20 ? '*/' . (1 + int rand($high / 2 + 1))
          : $kind < 0.60 ? "$first-" . $number->()
          : $kind < 0.75 ? "$first-" . $number->() . '/' . (1 + int rand 7)
          : $kind < 0.97 ? $first
          :                pick('?', '5/10', $high + 1, "$first-", '*-3', '', 'x');
    } 1 .. pick(1, 1, 1, 2, 3);
    return join ',', @parts;
}

sub expression {
    return pick('@hourly', '@daily', '@midnight', '@weekly', '@monthly', '@yearly', '@annually', '@sometimes', '30 seconds', '* * * *')
      if rand() < 0.04;
    my @fields = (
        field(0, 59), rand() < 0.5 ? '*' : field(0, 23),
        rand() < 0.08 ? '$' : rand() < 0.5 ? '*' : field(1, 31),
        rand() < 0.7 ? '*' : field(1, 12, qw(jan FEB Mar oct dec)),
        rand() < 0.6 ? '*' : field(0, 7, qw(sun Mon TUE sat)));
    return join pick(' ', ' ', "\t", '  '), @fields;
}

# First, which expressions pg_cron accepts. Those with seconds do not run at full minutes, so they are left out.
my @expressions = map { expression() } 1 .. 450;
$node->safe_psql('postgres', 'CREATE TABLE candidate (n serial, schedule text, taken boolean)');
$node->safe_psql('postgres', 'INSERT INTO candidate (schedule) VALUES ' . join(', ', map { "('$_')" } @expressions));
$node->safe_psql('postgres', <<'SQL');
DO $$
DECLARE
  c record;
BEGIN
  FOR c IN SELECT * FROM candidate ORDER BY n LOOP
    BEGIN
      PERFORM cron.schedule('n' || c.n, c.schedule, 'SELECT 1');
      UPDATE candidate SET taken = true WHERE n = c.n;
    EXCEPTION WHEN OTHERS THEN
      UPDATE candidate SET taken = false WHERE n = c.n;
    END;
  END LOOP;
END
$$;
SQL
is($node->safe_psql('postgres', "SELECT string_agg(schedule, ' | ') FROM candidate WHERE taken <> (wee5_cron.ticks(schedule, now(), 1) IS NOT NULL)"),
    '', 'pg_cron accepts every schedule that we can read, and refuses every other');
cmp_ok($node->safe_psql('postgres', 'SELECT count(*) FROM candidate WHERE taken'), '>', 250, '... and it accepted several hundred of them');
cmp_ok($node->safe_psql('postgres', 'SELECT count(*) FROM candidate WHERE NOT taken'), '>', 20, '... and refused some');
$node->safe_psql('postgres', "SELECT cron.unschedule(jobid) FROM cron.job WHERE schedule ~ 'second'");
$node->safe_psql('postgres', "SELECT cron.schedule('every minute', '* * * * *', 'SELECT 1')");

# Second, when pg_cron runs them: five minutes at a time, which it makes up for minute by minute.
sub window_agrees {
    my ($from, $minutes, $name) = @_;
    # After a jump of more than three hours pg_cron starts again with the current minute. The clock shows its thirtieth
    # second.
    my $before = $node->safe_psql('postgres', 'SELECT coalesce(max(runid), 0) FROM cron.job_run_details');
    $clock->set($from);
    my $expected = sub {
        return "SELECT j.jobid, (SELECT count(*) FROM unnest(wee5_cron.ticks(j.schedule, to_timestamp($from - 31), 1000)) t WHERE t <= to_timestamp(@{[ $clock->now ]})) AS n FROM cron.job j";
    };
    my $actual = "SELECT jobid, count(*) AS n FROM cron.job_run_details WHERE runid > $before AND status = 'succeeded' GROUP BY jobid";
    my $ended = sub {
        return $node->poll_query_until('postgres',
            "SELECT (SELECT sum(n) FROM (@{[ $expected->() ]}) e) <= (SELECT sum(n) FROM ($actual) a)");
    };
    $ended->();
    for (my $passed = 0; $passed < $minutes; $passed += 5) {
        $clock->set($clock->now + 300);
        last unless $ended->();
    }
    is($node->safe_psql('postgres', <<"SQL"), '', $name);
SELECT string_agg(format('%s: %s runs of pg_cron, %s ticks of ours', j.schedule, coalesce(a.n, 0), e.n), ' | ')
FROM (@{[ $expected->() ]}) e JOIN cron.job j USING (jobid) LEFT JOIN ($actual) a USING (jobid)
WHERE e.n <> coalesce(a.n, 0)
SQL
    note $node->safe_psql('postgres', "SELECT sum(n) || ' runs of ' || count(*) || ' jobs' FROM ($actual) a");
    return;
}

window_agrees(timegm(30, 40, 0, 29, 2, 2026), 45, 'the night in which Europe puts its clocks forward');
window_agrees(timegm(30, 40, 0, 25, 9, 2026), 45, 'the night in which Europe puts its clocks back');
window_agrees(timegm(30, 45, 22, 31, 11, 2027), 45, 'New Year in Berlin and in Greenwich');
window_agrees(timegm(30, 45, 22, 28, 1, 2028), 45, 'the beginning of a leap day');

done_testing();
