# An app has written the function and the jobs by hand, and migrates as docs/migration.md says. Three servers wait for the
# same tick of pg_cron: one has migrated, one has the extension in another schema, one has gone back again.
use strict;
use warnings;

# A tick is up to a minute away.
BEGIN { $ENV{PG_TEST_TIMEOUT_DEFAULT} ||= 130 }

use Cwd qw(getcwd);
use FindBin;
use lib "$FindBin::RealBin/../support";
use Wee5Cron::Readme;
use Wee5Cron::Test fixtures => ['pg_net'];

my $page = Wee5Cron::Readme::blocks('Coming from the PL/pgSQL function');
is(join(' ', sort keys %$page), 'back check look over', 'the page says what to type');

my $secret    = 'canary of an app';
my $migration = slurp_file("$FindBin::RealBin/../support/handwritten_cron.sql") =~ s/change-me/$secret/r;
my ($old_function) = $migration =~ /^(create or replace function.*?^\$\$;\n)/ms;
my %paths = (
    'poll-activities' => '/api/cron/poll-activities',
    'welcome-emails'  => '/api/cron/welcome-emails',
    'daily-analytics' => '/api/analytics/cron',
);

# A server without wee5_cron on which the app's owner, not a superuser, has run the app's own migration. Then the library is
# preloaded, as the first step of the page says.
sub handwritten_server {
    my ($name, $receiver) = @_;
    my $node = Wee5Cron::Node->start_new($name, preload => 'pg_cron');
    my $url  = $receiver->url;
    $node->safe_psql('postgres', <<'SQL');
CREATE EXTENSION pg_cron;
CREATE EXTENSION pg_net VERSION 'wee5fixture';
CREATE ROLE app_owner LOGIN; CREATE ROLE somebody LOGIN;
ALTER DATABASE postgres OWNER TO app_owner;
GRANT USAGE ON SCHEMA cron TO app_owner;
GRANT SET ON PARAMETER app.settings.api_url, app.settings.cron_secret TO app_owner;
SQL
    $node->psql_as('app_owner', 'postgres', $migration =~ s{http://localhost:3000}{$url}r);
    # If they were due during the preparation, they would call.
    $node->safe_psql('postgres', q{UPDATE cron.job SET schedule = '0 0 1 1 *'});
    $node->append_conf('postgresql.conf', "shared_preload_libraries = 'pg_cron,wee5_cron'\nwee5_cron.protect_secret = on\n");
    $node->restart;
    return $node;
}

# A block of the page, as a person types it.
sub type {
    my ($node, $sql, $name) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my ($status, $stdout, $stderr) = $node->psql('postgres', $sql);
    is($status, 0, $name) or diag($stderr);
    return ($stdout, $stderr);
}

my $jobs = q{SELECT string_agg(concat_ws(' ', jobid, jobname, username, command), E'\n' ORDER BY jobid) FROM cron.job};
sub queued_by_pg_net {
    my ($node) = @_;
    return $node->safe_psql('postgres', q{SELECT string_agg(DISTINCT url, ' ' ORDER BY url) FROM net.http_request_queue});
}
my %receiver = map { $_ => Wee5Cron::Receiver->start(secret => $secret) } qw(over elsewhere);

# The first server: the page, word for word.
my $over   = handwritten_server('over', $receiver{over});
my $before = $over->safe_psql('postgres', $jobs);
is(scalar(() = $before =~ /app_owner select invoke_cron_endpoint/g), 3, 'the app has three jobs');
$over->raises('postgres', q{select invoke_cron_endpoint('/x')}, '42501', 'preloaded, we protect the secret from a function of no superuser',
    message => qr/app\.settings\.cron_secret/, role => 'app_owner');
$over->set_server('wee5_cron.default_jobs', 'on');

my ($stdout) = type($over, $page->{look}, 'the look at what is there');
like($stdout, qr/^invoke_cron_endpoint\(text\)\|public\|app_owner$/m, '... shows the function');
like($stdout, qr/^\d+\|$_\|.*\|app_owner\|select invoke_cron_endpoint\('\Q$paths{$_}\E'\)$/m, "... and $_") for sort keys %paths;
my (undef, $stderr) = type($over, $page->{over}, 'the change');
like($stderr, qr/NOTICE:  job "$_" already exists and stays as it is$/m, "... leaves $_ alone, and says so") for sort keys %paths;
is($over->safe_psql('postgres', $jobs), $before, '... every job is what it was, and there is no other');
($stdout) = type($over, $page->{check}, 'the check');
like($stdout, qr/^succeeded\|200\|\|$/m, '... a job of the app calls the app');
like($stdout, qr/^poll-activities\|succeeded\|200\|ok\|$/m, '... and its status says so');
is($over->psql_as('app_owner', 'postgres', q{SELECT pg_typeof(invoke_cron_endpoint('/by-owner'))}), 'bigint',
    "the jobs' owner may call, and gets an id");
$over->raises('postgres', q{SELECT invoke_cron_endpoint('/x')}, '42501', 'nobody else may', role => 'somebody');
$over->raises('postgres', 'SHOW app.settings.cron_secret', '42501', '... nor look at the secret', role => 'somebody');
$over->raises('postgres', $old_function, '42P13', 'the old statement, run again, fails');
# As before, pg_net has no worker, and nobody called through it.
is(queued_by_pg_net($over), '', 'nothing went the old way');

# Without a secret.
$over->safe_psql('postgres', 'ALTER DATABASE postgres RESET app.settings.cron_secret');
$over->raises('postgres', q{SELECT invoke_cron_endpoint('/x')}, '55000', 'a missing secret is an error, not a warning');
$over->configure('postgres', secret => $secret);

# The second server: the extension goes to another schema, and a role without privileges tries it.
my $elsewhere = handwritten_server('elsewhere', $receiver{elsewhere});
$elsewhere->safe_psql('postgres', q{CREATE SCHEMA extensions; ALTER DATABASE postgres SET search_path = "$user", public, extensions});
$before = $elsewhere->safe_psql('postgres', $jobs);
$elsewhere->raises('postgres', 'CREATE EXTENSION wee5_cron SCHEMA extensions', '42723', 'CREATE EXTENSION fails while the old function would answer',
    message => qr/public\.invoke_cron_endpoint\(text\)/);
my ($way_over) = $elsewhere->error_of('postgres', 'CREATE EXTENSION wee5_cron SCHEMA extensions')->{hint} =~ /(BEGIN;.*?COMMIT;)/;
is($way_over, 'BEGIN; DROP FUNCTION public.invoke_cron_endpoint(text); CREATE EXTENSION wee5_cron SCHEMA extensions; COMMIT;',
    '... the hint has the way over');
(undef, $stderr) = type($elsewhere, $way_over, '... which goes');
is($elsewhere->safe_psql('postgres', q{SELECT pronamespace::regnamespace FROM pg_proc WHERE proname = 'invoke_cron_endpoint'}),
    'extensions', '... there is one function, where it was asked for');
is($elsewhere->safe_psql('postgres', $jobs), $before, '... and the jobs are what they were');
$elsewhere->raises('postgres', q{SELECT invoke_cron_endpoint('/x')}, '42883', "the jobs' owner does not even find it in a schema that is not his",
    role => 'app_owner');
like($stderr, qr/NOTICE:  "app_owner" may not call .*'poll-activities', 'welcome-emails', 'daily-analytics'$/m, '... which was said');
my ($grant) = $stderr =~ /^HINT:  (SELECT wee5_cron\.grant_to\(.*\);)$/m;
type($elsewhere, $grant, '... with what to do about it');

# The third server migrates and goes back. If the extension created a job of its own, the job goes with it.
my $back = handwritten_server('back', $receiver{over});
$back->set_server('wee5_cron.default_jobs', 'on');
$back->psql_as('app_owner', 'postgres', q{SELECT cron.unschedule('welcome-emails')});
$before = $back->safe_psql('postgres', $jobs);
type($back, $page->{over}, 'another one changes over');
isnt($back->safe_psql('postgres', $jobs), $before, '... and has one job more');
$back->safe_psql('postgres', q{UPDATE cron.job SET schedule = '0 0 1 1 *'});
my $tmp = PostgreSQL::Test::Utils::tempdir();
append_to_file("$tmp/old_function.sql", $old_function);
$back->finished('postgres', $back->safe_psql('postgres', q{SELECT wee5_cron.run_now('poll-activities')}));
my $here = getcwd();
chdir $tmp or die "$tmp: $!";
type($back, $page->{back}, '... goes back');
chdir $here or die "$here: $!";
is($back->safe_psql('postgres', $jobs), $before, "... keeps the app's jobs, and no other");
is($back->safe_psql('postgres', 'SELECT status, endpoint_path FROM invocation_history'), 'succeeded|/api/cron/poll-activities', '... and the ledger');
is($back->safe_psql('postgres', q{SELECT count(*) FROM pg_namespace WHERE nspname = 'wee5_cron'}), 0, '... nothing else');

# The tick.
my @nodes = ($over, $elsewhere, $back);
$_->safe_psql('postgres', q{UPDATE cron.job SET schedule = '* * * * *'}) for @nodes;
for my $node (@nodes) {
    $node->poll_query_until('postgres', <<'SQL') or diag($node->name . ': not every job has run');
SELECT NOT EXISTS (SELECT FROM cron.job j WHERE NOT EXISTS (
  SELECT FROM cron.job_run_details d WHERE d.jobid = j.jobid AND d.status IN ('succeeded', 'failed')))
SQL
    $node->safe_psql('postgres', q{UPDATE cron.job SET schedule = '0 0 1 1 *'});
}
for my $node ($over, $elsewhere) {
    my $name = $node->name;
    $node->wait_until_all_finished('postgres');
    for my $job (sort keys %paths) {
        my @runs = $node->rows('postgres', <<SQL);
SELECT d.runid, d.status AS cron_status, d.return_message, i.* FROM cron.job j JOIN cron.job_run_details d USING (jobid)
LEFT JOIN wee5_cron.invocation i ON i.cron_run_id = d.runid WHERE j.jobname = '$job'
SQL
        fields_are($_, { cron_status => 'succeeded', status => 'succeeded', http_status => 200, requested_by => 'app_owner', endpoint_path => $paths{$job} },
            "$name: on the tick $job calls the app") for @runs;
        # run_now() has a scheduled time, too, but no run of pg_cron.
        my %by_hand = map { $_->{id} => 1 } $node->rows('postgres', "SELECT id FROM wee5_cron.invocation WHERE job_name = '$job' AND cron_run_id IS NULL");
        my @ticks = grep { defined } map { $_->{headers}{'x-wee5-cron-scheduled-at'} }
            grep { !$by_hand{ $_->{headers}{'x-wee5-cron-invocation'} } } $receiver{$name}->requests($paths{$job});
        my %of_tick;
        $of_tick{$_}++ for @ticks;
        is_deeply([ values %of_tick ], [ map { 1 } @runs ], "$name: ... once");
        is_deeply([ grep { $_ ne 'match' } map { $_->{bearer} } $receiver{$name}->requests($paths{$job}) ], [], "$name: ... with the secret");
    }
}
is($back->safe_psql('postgres', q{SELECT DISTINCT status FROM cron.job_run_details}), 'succeeded', 'gone back, the jobs run');
is(queued_by_pg_net($back), join(' ', map { $receiver{over}->url . $_ } @paths{qw(daily-analytics poll-activities)}),
    '... the old function, which hands them to pg_net');

$_->log_is_sane($_->name . ': the log tells of no crash') for @nodes;
done_testing();
