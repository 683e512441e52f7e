# Targets: other apps, each with an address, a secret and headers of its own. No target gets the app's secret, no other app
# gets a target's secret, and nothing shows either.
use FindBin;
use lib "$FindBin::RealBin/../support";
use Wee5Cron::Test fixtures => ['supabase_vault'];
use Wee5Cron::Targets;

use JSON::PP;
use MIME::Base64 qw(encode_base64);

my %secret = (app => 'canary-of-the-app-4711', billing => 'canary-of-billing/+= 4711', bypass => 'canary-of-the-bypass', new => 'canary-of-billing-anew');
my $app     = Wee5Cron::Receiver->start(secret => $secret{app});
my $billing = Wee5Cron::Receiver->start(secret => $secret{billing});
my $node    = Wee5Cron::Node->start_new('main', conf => "log_min_messages = debug1\nlog_min_error_statement = debug1\n");
$node->install('postgres', api_url => $app->url, secret => $secret{app});
my $url = $billing->url;
my $log_before = -s $node->logfile;

sub query { return $node->safe_psql('postgres', $_[0]) }

sub target_lines {
    return map { "$_->{status}: $_->{detail}" } $node->rows('postgres', q{SELECT * FROM wee5_cron.doctor() WHERE check_name = 'target'});
}

is_deeply([ target_lines() ], ['ok: no target is configured, and no path names one'], 'doctor() without targets');
$node->raises('postgres', "SELECT invoke_cron_endpoint('billing:/status/200')", '55000', 'a target that nobody configured',
    message => qr/^target "billing" is not configured$/, hint => qr/^SELECT wee5_cron\.configure_target\('billing', /);

# A call of each kind.
query("SELECT wee5_cron.configure_target('billing', '$url/', '$secret{billing}', headers => '{\"X-Bypass\": \"$secret{bypass}\"}')");
query("SELECT wee5_cron.configure_target('app', NULL, NULL, headers => '{\"X-App-Bypass\": \"$secret{bypass}\"}')");
my $id = $node->call('postgres', 'billing:/echo?x=1');
fields_are($node->finished('postgres', $id), { status => 'succeeded', endpoint_path => 'billing:/echo?x=1', url => "$url/echo?x=1", response_body => qr/"x-bypass":"\[secret\]"/ },
    'a call goes to the target, and its row shows no secret header that the answer repeats');
my ($request) = $billing->requests('/echo');
is($request->{bearer}, 'match', '... with the secret of the target');
is($request->{headers}{'x-bypass'}, $secret{bypass}, '... and its further header');
is($request->{headers}{'x-app-bypass'}, undef, '... but no header of the app');
$id = $node->call('postgres', '/leak', "target => 'billing', headers => '{\"X-Bypass\": \"forged\"}'");
fields_are($node->finished('postgres', $id), { status => 'succeeded', endpoint_path => 'billing:/leak', response_body => qr/\[secret\]/ },
    "invoke('/path', target => 'name') is short for name:/path");
is(($billing->requests('/leak'))[0]{headers}{'x-bypass'}, $secret{bypass}, '... and a caller\'s header does not replace a secret one');
fields_are($node->finished('postgres', $node->call('postgres', '/echo')), { status => 'succeeded', url => $app->url . '/echo' }, 'the app is called as before');
($request) = $app->requests('/echo');
is("$request->{bearer} $request->{headers}{'x-app-bypass'}", "match $secret{bypass}", '... with its own secret and further header');
is($request->{headers}{'x-bypass'}, undef, '... and no header of the target');
fields_are($node->finished('postgres', $node->call('postgres', 'billing:/status/401')), { status => 'failed', hint => qr/the secret of target "billing" \(SELECT wee5_cron\.configure_target\(\)\)/ },
    'a hint names the target');
fields_are($node->finished('postgres', $node->call('postgres', 'billing:/status/404')), { status => 'failed', hint => qr{the api_url of target "billing".*the file app/status/404/route\.ts} }, '... and its route');
my @ok = (qr/^ok: calls of the app carry further secret headers: 1 \(database\)$/,
    qr/^ok: target "billing" calls \Q$url\E\/? with a secret of 25 characters in the header Authorization \(database\), further secret headers: 1$/);
my @lines = target_lines();
is(scalar @lines, 2, 'doctor() has a line for each target');
like($lines[$_], $ok[$_], "... $_") for 0, 1;

like(query("BEGIN; ALTER DATABASE postgres RESET app.settings.cron_secret; SELECT status FROM wee5_cron.doctor() WHERE check_name = 'cron_secret_readers'; ROLLBACK"), qr/^warning$/m, '... and warns that other roles can read the secrets of targets');

# Another header, and other arguments that are refused.
query("SELECT wee5_cron.configure_target('keyed', '$url', '$secret{billing}', header => 'X-Api-Key', prefix => 'Key ')");
$node->finished('postgres', $node->call('postgres', 'keyed:/echo?keyed'));
($request) = grep { ($_->{headers}{'x-api-key'} // '') ne '' } $billing->requests('/echo');
is("$request->{bearer} $request->{headers}{'x-api-key'}", "none Key $secret{billing}", 'the secret goes in the header and with the prefix of the target');
my (undef, undef, $said) = $node->psql('postgres', "SELECT wee5_cron.configure_target('pin', '$url', '$secret{billing}', headers => '{\"X-Pin\": \"47a1\", \"X-Set-Cookie-Too\": \"True\"}')");
like($said, qr/WARNING:  target "pin" has short values in "X-Pin", and answers show \[secret\] wherever they occur\nHINT:  A header that is no secret belongs in wee5_cron\.endpoint\.headers\./, 'a warning of a header with a short value');
my $shown = $node->finished('postgres', $node->call('postgres', 'pin:/echo?pin'))->{response_body};
like($shown, qr/"x-pin":"\[secret\]"/, '... which is replaced in answers all the same');
like($shown, qr/"x-set-cookie-too":"True"/, '... but not a value that only switches something on');
query("SELECT wee5_cron.drop_target('pin')");
is(query("SELECT wee5_cron.drop_target('keyed'), wee5_cron.drop_target('keyed')"), 't|f', 'drop_target() says whether there was one');
query(<<'SQL');
DO $$ BEGIN
  EXECUTE format('ALTER DATABASE postgres SET app.settings.cron_targets = %L', (
    SELECT substr(entry, length('app.settings.cron_targets=') + 1)::jsonb || '{"broken": {"api_url": "", "secret": 7}}'
    FROM pg_db_role_setting, unnest(setconfig) entry WHERE entry LIKE 'app.settings.cron_targets=%'));
END $$
SQL
like(query("SELECT detail FROM wee5_cron.doctor() WHERE check_name = 'target' AND status = 'error'"), qr/"broken".*api_url is blank/, 'a target that somebody stored by hand, and that cannot be called');
query("SELECT wee5_cron.configure_target('broken', '$url', '$secret{billing}')");
fields_are($node->finished('postgres', $node->call('postgres', 'broken:/echo?mended')), { status => 'succeeded' }, '... is mended by configure_target()');
query("SELECT wee5_cron.drop_target('broken')");
my %refused = (
    q{'1st', 'https://x.example.com', 'hush-hush'}                                      => qr/^invalid target name "1st"$/,
    q{'https', 'https://x.example.com', 'hush-hush'}                                    => qr/^invalid target name "https"$/,
    q{'billing', 'ftp://x.example.com', 'hush-hush'}                                    => qr/^target "billing": api_url "ftp:.*" is neither https/,
    q{'billing', 'http://x.example.com', 'hush-hush'}                                   => qr/^target "billing": api_url "http:.*" would send the bearer secret in clear text/,
    q{'billing', 'app.example.com', 'hush-hush'}                                        => qr{^target "billing": api_url "app\.example\.com" does not begin with https://$},
    q{'billing', ' ', 'hush-hush'}                                                      => qr/^target "billing": api_url is blank$/,
    q{'billing', 'https://x.example.com', ' '}                                          => qr/^target "billing": the secret is blank$/,
    qq{'billing', 'https://x.example.com', E'hush\\nhush'}                               => qr/^target "billing": the secret holds a character/,
    q{'billing', 'https://x.example.com', 'hush-hush', header => 'Host'}                => qr/^header "Host" cannot be set/,
    q{'billing', 'https://x.example.com', 'hush-hush', headers => '{"Cookie ": "hush"}'} => qr/^invalid header name/,
    q{'billing', 'https://x.example.com', 'hush-hush', headers => '{"X-Wee5-Cron-Job": "hush"}'} => qr/^header "X-Wee5-Cron-Job" cannot/,
    q{'billing', 'https://x.example.com', 'hush-hush', headers => '{"authorization": "hush"}'} => qr/is given twice$/,
    q{'billing', 'https://x.example.com', 'hush-hush', headers => '["hush"]'}           => qr/^headers must be a JSON object$/,
    q{'billing', 'https://x.example.com', 'hush-hush', store => 'hush'}                 => qr/^unknown store$/,
    q{'app', 'https://x.example.com', 'hush-hush'}                                      => qr/^target "app" is the app itself/,
);
for my $arguments (sort keys %refused) {
    my $error = $node->error_of('postgres', "SELECT wee5_cron.configure_target($arguments)");
    is($error->{sqlstate}, '22023', "refused: $arguments");
    like($error->{message}, $refused{$arguments}, '... and the error says why');
    unlike("$error->{message}" . ($error->{detail} // '') . ($error->{hint} // ''), qr/hush/, '... and quotes no value');
    unlike($error->{hint} // '', qr/app\.settings\.api_url/, '... and its hint does not change the address of the app');
}
$node->raises('postgres', "SELECT wee5_cron.configure_target('billing', 'https://x.example.com', NULL)", '22004', 'a secret of NULL is refused');
$node->raises('postgres', "SELECT invoke_cron_endpoint('$_')", '22023', "refused: $_") for 'app:/x', 'billing://evil', 'billing:x', 'billing:/../x', 'https:/x';
$node->raises('postgres', "SELECT wee5_cron.invoke('x', target => 'billing')", '22023', 'a path without a slash is refused, with a target, too');
$node->raises('postgres', "SELECT wee5_cron.invoke('/x', target => '\@evil')", '22023', 'an invalid name of a target is refused');

# Who may call which target.
query('CREATE ROLE caller LOGIN; CREATE ROLE operator LOGIN');
query("SELECT wee5_cron.grant_to('caller', 'call'), wee5_cron.grant_to('operator', 'operate')");
$node->raises('postgres', "SELECT invoke_cron_endpoint('billing:/status/200?a')", '42501', 'a caller may not call a target',
    role => 'caller', message => qr{^role "caller" may not call 'billing:/status/200\?a'$}, hint => qr{INSERT INTO wee5_cron\.endpoint \(endpoint_path\) VALUES \('billing:/status/200'\);});
$node->raises('postgres', "SELECT wee5_cron.configure_target('billing', '$url', 'x')", '42501', '... nor configure one', role => 'caller');
$node->raises('postgres', 'SELECT * FROM wee5_cron.describe_targets(session_user)', '42501', '... nor see any', role => 'caller');
is($node->error_of('postgres', "SELECT invoke_cron_endpoint('billing:/status/200?b')", role => 'operator'), undef, 'a role that may configure targets may call them');
query("INSERT INTO wee5_cron.endpoint (endpoint_path, timeout) VALUES ('billing:/status/200', '7s'), ('unknown:/x', NULL)");
is($node->error_of('postgres', "SELECT invoke_cron_endpoint('billing:/status/200?c')", role => 'caller'), undef, 'a caller may call a path of a target that a policy names');
$node->raises('postgres', "SELECT invoke_cron_endpoint('billing:/status/201')", '42501', '... and no other path', role => 'caller');
$node->wait_until_all_finished('postgres');
is(($billing->requests('/status/200'))[-1]{headers}{'x-wee5-cron-timeout-ms'}, 7000, 'a policy applies to the path of the target');
ok((grep { $_ eq 'warning: target "unknown" is not configured, and a row of wee5_cron.endpoint names it: unknown:/x' } target_lines()), 'doctor() warns of a path whose target nobody configured');

$node->raises('postgres', "SELECT wee5_cron.configure('$url', 'hush-hush')", '42501', "an operator cannot send the app's further headers to another address",
    role => 'operator', message => qr/^calls would send the secret headers of the app to the new address$/, hint => qr/SELECT wee5_cron\.drop_target\('app'\);/);
is($node->error_of('postgres', "SELECT wee5_cron.configure('@{[ $app->url ]}/', '$secret{app}')", role => 'operator'), undef, '... but may store the present address again');
my (undef, undef, $warned) = $node->psql('postgres', "BEGIN; ALTER ROLE caller SET app.settings.cron_targets = '{\"billing\": {}}'; SELECT wee5_cron.drop_target('billing'); ROLLBACK");
like($warned, qr/WARNING:  target "billing" is stored elsewhere, too: ALTER ROLE caller\n/, 'drop_target() warns of what it cannot remove');

# A job.
query("SELECT wee5_cron.schedule('bill', '0 0 1 1 *', 'billing:/status/200'); SELECT cron.schedule('short', '0 0 1 1 *', \$\$SELECT wee5_cron.invoke('/status/200', target => 'billing')\$\$)");
is(query("SELECT string_agg(endpoint_path, ' ' ORDER BY job_name) FROM wee5_cron.job_status WHERE job_name IN ('bill', 'short')"), 'billing:/status/200 billing:/status/200', 'job_status shows the path of the target');
fields_are($node->finished('postgres', query("SELECT wee5_cron.run_now('bill')")), { status => 'succeeded', job_name => 'bill', url => "$url/status/200" }, 'a job calls a target');

# A run that was missed, of a job whose tick was before the server started. Its owner's rights count, not those of whoever makes up for it.
my $tick = q{to_char(now() AT TIME ZONE 'GMT' - interval '10 minutes', 'FMMI FMHH24 * * *')};
query("SELECT wee5_cron.schedule('missed', $tick, 'billing:/status/200?missed')");
query("SELECT cron.schedule_in_database('not theirs', $tick, \$\$SELECT invoke_cron_endpoint('billing:/status/201?missed')\$\$, 'postgres', 'caller')");
my $log_before_catch_up = -s $node->logfile;
$node->poll_query_until('postgres', "SELECT count(*) = 2 FROM wee5_cron.job_watch WHERE job_name IN ('missed', 'not theirs')") or die "the jobs are not watched\n";
query("UPDATE wee5_cron.job_watch SET judged_until = now() - interval '30 minutes' WHERE job_name IN ('missed', 'not theirs'); SELECT wee5_cron.watch_jobs()");
$id = query("SELECT id FROM wee5_cron.invocation WHERE job_name = 'missed'");
fields_are($node->finished('postgres', $id), { status => 'succeeded', endpoint_path => 'billing:/status/200?missed', url => "$url/status/200?missed" }, 'a missed run of a target is made up for');
is((grep { $_->{url} eq '/status/200?missed' } $billing->requests('/status/200'))[0]{bearer}, 'match', '... with the secret of the target');
is(query("SELECT scheduled_at < now() - interval '9 minutes' FROM wee5_cron.invocation WHERE id = $id"), 't', '... for the tick that was missed');
is(query("SELECT count(*) FROM wee5_cron.invocation WHERE endpoint_path LIKE 'billing:/status/201%'"), 0, 'no run is made up for whose user may not call the target');
like(slurp_file($node->logfile, $log_before_catch_up), qr/cannot catch up on the missed run of job "not theirs": role "caller" may not call 'billing:\/status\/201\?missed'/, '... and the log says why');
$node->raises('postgres', "SELECT wee5_cron.run_now('not theirs')", '42501', 'run_now() does not lend its right to the user of a job',
    role => 'operator', message => qr{^job "not theirs" belongs to role "caller", which may not call 'billing:/status/201\?missed'$}, hint => qr{VALUES \('billing:/status/201'\);});
query("SELECT cron.unschedule(jobid) FROM cron.job WHERE jobname IN ('missed', 'not theirs')");

# A new secret.
my $previous = $secret{billing};
query("SELECT wee5_cron.configure_target('billing', '$url', '$secret{new}')");
fields_are($node->finished('postgres', $node->call('postgres', 'billing:/status/200')), { status => 'succeeded' }, 'after a new secret calls succeed');
ok((grep { /^ok: target "billing" .*; the previous secret is used until / } target_lines()), '... and doctor() reports the previous one');
is(query("SELECT wee5_cron.redact_for('postgres', '$previous $secret{new} $secret{bypass}')"), '[secret] [secret] [secret]', '... and all of them are redacted');
query("SELECT wee5_cron.configure_target('billing', 'http://localhost:@{[ $billing->port ]}', '$previous')");
ok(!(grep { /the previous secret is used/ } target_lines()), 'with another address no previous secret is kept');

# What somebody stored by hand.
my $stored = query(q{SELECT substr(entry, strpos(entry, '=') + 1) FROM pg_db_role_setting, unnest(setconfig) entry WHERE entry LIKE 'app.settings.cron_targets=%'});
for my $case (Wee5Cron::Targets->wrong_documents) {
    my ($document, $says) = @$case;
    query("ALTER DATABASE postgres SET app.settings.cron_targets = '$document'");
    my @lines = $node->rows('postgres', q{SELECT * FROM wee5_cron.doctor() WHERE check_name = 'target'});
    ok((grep { "$_->{status}: $_->{detail}" =~ $says } @lines), "doctor() on $document") or diag(join "\n", map { "$_->{status}: $_->{detail}" } @lines);
    unlike(join('', map { ($_->{detail}, $_->{hint} // '') } @lines), qr/hush|app\.settings\.api_url/, '... shows no value of it, and its hint is not about the app');
}
query("ALTER DATABASE postgres SET app.settings.cron_targets = '$stored'");

# In Vault. A value that is stored for the database takes precedence over it.
query(q{CREATE EXTENSION supabase_vault VERSION 'wee5fixture'});
query("SELECT wee5_cron.configure_target('billing', '$url', '$previous', store => 'vault')");
ok((grep { /^ok: target "billing" calls \Q$url\E with .* \(vault\)/ } target_lines()), 'configure_target() stores a target in Vault');
fields_are($node->finished('postgres', $node->call('postgres', 'billing:/echo?vault')), { status => 'succeeded' }, '... which is called');
is(query(q{SELECT count(*) FROM pg_db_role_setting, unnest(setconfig) c WHERE c LIKE 'app.settings.cron_targets=%billing%'}), 0, '... and no longer for the database');
query("SELECT wee5_cron.configure_target('billing', '$url', '$previous')");
is(query(q{SELECT count(*) FROM vault.secrets WHERE name = 'cron_targets'}), 0, 'a target that is stored for the database again is no longer in Vault');

# A role's own document decides all of the targets that it names.
query('CREATE ROLE other LOGIN');
query("SELECT wee5_cron.grant_to('other', 'operate')");
query("ALTER ROLE other SET app.settings.cron_targets = '{\"billing\": {\"api_url\": \"$url/base\", \"secret\": \"$previous\"}}'");
$id = (split /\n/, $node->psql_as('other', 'postgres', "SELECT invoke_cron_endpoint('billing:/status/200')"))[-1];
is($node->finished('postgres', $id)->{url}, "$url/base/status/200", 'a document that is stored for a role applies to its calls');
$node->raises('postgres', 'SHOW app.settings.cron_targets', '42501', 'nobody else sees the document', role => 'other');
$node->raises('postgres', "SET app.settings.cron_targets = '{}'", '42501', '... or sets it', role => 'other');

# Nothing shows a secret.
my @forms = map { my $s = $_; ($s, $s =~ s/([^A-Za-z0-9._~-])/sprintf '%%%02X', ord $1/ger, encode_base64($s, '')) } values %secret;
sub holds_no_secret {
    my ($text, $where) = @_;
    my @found = grep { index($text, $_) >= 0 } @forms;
    ok(length($text) && !@found, "no secret in $where") or diag("found: @found");
    return;
}
$node->error_of('postgres', "SELECT wee5_cron.configure_target('billing', '$url', '$secret{new}', headers => '{\"X\": $secret{bypass}}')");
$node->error_of('postgres', "SELECT wee5_cron.configure_target('billing', '$url', '$secret{new}', headers => 1)");
holds_no_secret(join("\n", map { query("SELECT to_json(t) FROM $_ t") } split /\n/, query("SELECT oid::regclass FROM pg_class WHERE relkind IN ('r', 'v') AND relnamespace = 'wee5_cron'::regnamespace")), 'the tables');
holds_no_secret(query('SELECT to_json(d) FROM wee5_cron.doctor() d'), 'doctor()');
holds_no_secret(query('SELECT to_json(m) FROM wee5_cron.metrics m'), 'the metrics');
holds_no_secret(query('SELECT wee5_cron.status_page()'), 'the status page');
holds_no_secret(query('SELECT wee5_cron.describe_targets(session_user)'), 'the description of the targets');
holds_no_secret(query('SELECT wee5_cron.export_config()'), 'the exported jobs');
my $log = substr slurp_file($node->logfile), $log_before;
$log =~ s/^.*ALTER (?:ROLE other|DATABASE postgres) SET.*$//mg;  # statements of the test itself
holds_no_secret($log, 'the log');

$node->stop;
done_testing();
