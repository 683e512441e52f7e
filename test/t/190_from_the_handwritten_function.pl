# An app whose function and jobs were written by hand migrates as docs/migration.md says. Three servers wait for the same tick
# of pg_cron: one has migrated, one has the extension in another schema, one has gone back again.
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
is(join(' ', sort keys %$page), 'back check look over', 'docs/migration.md has the four blocks to type');

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
    # Jobs that came due during the preparation would make calls.
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
$over->raises('postgres', q{select invoke_cron_endpoint('/x')}, '42501', 'with the library preloaded, a function whose owner is not a superuser cannot read the secret',
    message => qr/app\.settings\.cron_secret/, role => 'app_owner');
$over->set_server('wee5_cron.default_jobs', 'on');

my ($stdout) = type($over, $page->{look}, 'the block that shows what exists');
like($stdout, qr/^invoke_cron_endpoint\(text\)\|public\|app_owner$/m, '... and shows the function');
like($stdout, qr/^\d+\|$_\|.*\|app_owner\|select invoke_cron_endpoint\('\Q$paths{$_}\E'\)$/m, "... and shows the job $_") for sort keys %paths;
my (undef, $stderr) = type($over, $page->{over}, 'the block that changes over');
like($stderr, qr/NOTICE:  job "$_" already exists and stays as it is$/m, "... and says that the job $_ stays as it is") for sort keys %paths;
is($over->safe_psql('postgres', $jobs), $before, '... and every job is unchanged and no other exists');
($stdout) = type($over, $page->{check}, 'the block that checks');
like($stdout, qr/^succeeded\|200\|\|$/m, '... and a job of the app has called it');
like($stdout, qr/^poll-activities\|succeeded\|200\|ok\|$/m, '... and job_status says so');
is($over->psql_as('app_owner', 'postgres', q{SELECT pg_typeof(invoke_cron_endpoint('/by-owner'))}), 'bigint',
    "the jobs' owner may call, and gets an id");
$over->raises('postgres', q{SELECT invoke_cron_endpoint('/x')}, '42501', 'another role may not call', role => 'somebody');
$over->raises('postgres', 'SHOW app.settings.cron_secret', '42501', 'another role may not see the secret', role => 'somebody');
$over->raises('postgres', $old_function, '42P13', 'the old CREATE FUNCTION statement fails when it is run again');
# As before, pg_net has no worker, and no call goes through it.
is(queued_by_pg_net($over), '', 'no call went through pg_net');

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
    '... and the hint says how to change over');
(undef, $stderr) = type($elsewhere, $way_over, 'the hint of the failed CREATE EXTENSION');
is($elsewhere->safe_psql('postgres', q{SELECT pronamespace::regnamespace FROM pg_proc WHERE proname = 'invoke_cron_endpoint'}),
    'extensions', '... and the function exists only in the schema that was asked for');
is($elsewhere->safe_psql('postgres', $jobs), $before, '... and the jobs are unchanged');
$elsewhere->raises('postgres', q{SELECT invoke_cron_endpoint('/x')}, '42883', "the jobs' owner does not even find it in a schema that is not his",
    role => 'app_owner');
like($stderr, qr/NOTICE:  "app_owner" may not call .*'poll-activities', 'welcome-emails', 'daily-analytics'$/m, '... and a NOTICE has said so');
my ($grant) = $stderr =~ /^HINT:  (SELECT wee5_cron\.grant_to\(.*\);)$/m;
type($elsewhere, $grant, 'the statement of the NOTICE');

# The third server migrates and goes back. If the extension created a job of its own, the job goes with it.
my $back = handwritten_server('back', $receiver{over});
$back->set_server('wee5_cron.default_jobs', 'on');
$back->psql_as('app_owner', 'postgres', q{SELECT cron.unschedule('welcome-emails')});
$before = $back->safe_psql('postgres', $jobs);
type($back, $page->{over}, 'the block that changes over, on a server with default_jobs');
isnt($back->safe_psql('postgres', $jobs), $before, '... and it adds a job');
$back->safe_psql('postgres', q{UPDATE cron.job SET schedule = '0 0 1 1 *'});
my $tmp = PostgreSQL::Test::Utils::tempdir();
append_to_file("$tmp/old_function.sql", $old_function);
$back->finished('postgres', $back->safe_psql('postgres', q{SELECT wee5_cron.run_now('poll-activities')}));
my $here = getcwd();
chdir $tmp or die "$tmp: $!";
type($back, $page->{back}, 'the block that goes back');
chdir $here or die "$here: $!";
is($back->safe_psql('postgres', $jobs), $before, "... and only the app's jobs remain");
is($back->safe_psql('postgres', 'SELECT status, endpoint_path FROM invocation_history'), 'succeeded|/api/cron/poll-activities', "... and the ledger's rows remain");
is($back->safe_psql('postgres', q{SELECT count(*) FROM pg_namespace WHERE nspname = 'wee5_cron'}), 0, '... and nothing else of wee5_cron remains');

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
            "$name: on the tick the job $job calls the app") for @runs;
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
is($back->safe_psql('postgres', q{SELECT DISTINCT status FROM cron.job_run_details}), 'succeeded', 'the jobs run again on the server that went back');
is(queued_by_pg_net($back), join(' ', map { $receiver{over}->url . $_ } @paths{qw(daily-analytics poll-activities)}),
    '... and call the old function, which uses pg_net');

$_->log_is_sane($_->name . ': the log records no crash') for @nodes;
done_testing();
