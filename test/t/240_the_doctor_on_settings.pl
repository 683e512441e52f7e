# doctor(): a database without problems, the settings one by one, and the outcome of calls. The test runs each hint as it
# stands, and the hint has to help.
use FindBin;
use lib "$FindBin::RealBin/../support";
use Wee5Cron::Doctor;
use Wee5Cron::Test fixtures => ['supabase_vault'];

# Long enough, and not part of any word in doctor()'s texts.
my $secret   = 'canary-of-the-doctor-4711';
my $receiver = Wee5Cron::Receiver->start(secret => $secret);
my $node     = Wee5Cron::Node->start_new('main');
my $url      = $receiver->url;
$node->install('postgres', api_url => $url, secret => $secret);
$node->safe_psql('postgres', <<'SQL');
SELECT wee5_cron.schedule('hello', '0 0 1 1 *', '/hello');
REVOKE SELECT ON pg_db_role_setting FROM PUBLIC;
CREATE ROLE reader LOGIN; SELECT wee5_cron.grant_to('reader', 'read');
CREATE ROLE nobody LOGIN;
SQL
my $doctor = Wee5Cron::Doctor->new($node, 'postgres');

# Everything is well once the app has answered. (This may run in a container, where localhost is suspect until then.)
$node->finished('postgres', $node->call('postgres', '/hello'));
is_deeply([ $doctor->complaints ], [], 'a healthy database: every line is ok');

# Which roles may use it.
my @names = map { $_->{check_name} } $doctor->lines;
is($node->psql_as('reader', 'postgres', 'SELECT count(*) FROM wee5_cron.doctor()'), scalar(@names), 'a reader may run doctor() and gets every check');
$node->raises('postgres', 'SELECT * FROM wee5_cron.doctor()', '42501', 'a role without a grant may not run doctor()', role => 'nobody');
is($node->safe_psql('postgres', "BEGIN READ ONLY; SELECT count(*) FROM wee5_cron.doctor(); ROLLBACK"), scalar(@names), 'doctor() runs in a read-only transaction');

# api_url.
$node->safe_psql('postgres', 'ALTER DATABASE postgres RESET app.settings.api_url');
$doctor->red_then_green('api_url', 'error', qr/api_url is not set/, 'no api_url');
for my $case ([ 'app.example.com', qr/does not begin with https/ ], [ 'ftp://app.example.com', qr/neither https/ ],
    [ 'https://user:topsecret@app.example.com', qr/user information/ ], [ 'https://app.example.com/?a=1', qr/query/ ]) {
    my ($value, $why) = @$case;
    $node->configure('postgres', api_url => $value);
    unlike(join("\n", map { $_->{detail} } $doctor->lines), qr/topsecret/, "$value: doctor() does not show a password in api_url");
    $doctor->red_then_green('api_url', 'error', $why, "$value as address");
}
# The statement changes the value where it is stored.
my $superuser = $node->safe_psql('postgres', 'SELECT quote_ident(current_user)');
for my $where ("ALTER ROLE $superuser", "ALTER ROLE $superuser IN DATABASE postgres", 'ALTER ROLE ALL') {
    $node->safe_psql('postgres', 'ALTER DATABASE postgres RESET app.settings.api_url');
    $node->safe_psql('postgres', "$where SET app.settings.api_url = 'nonsense'");
    $doctor->red_then_green('api_url', 'error', qr/nonsense/, "$where", hint => qr/^\Q$where\E SET/);
    $node->safe_psql('postgres', "$where RESET app.settings.api_url");
}
# The settings of the job's user count, not those of the user who runs doctor().
$node->safe_psql('postgres', q{CREATE ROLE "Job User" LOGIN; SELECT wee5_cron.grant_to('"Job User"', 'call'); GRANT USAGE ON SCHEMA cron TO "Job User"});
$node->psql_as('Job User', 'postgres', q{SELECT cron.schedule('of-another', '0 0 1 1 *', $$SELECT invoke_cron_endpoint('/x')$$)});
$node->configure('postgres', api_url => $url);
$node->safe_psql('postgres', q{ALTER ROLE "Job User" SET app.settings.api_url = 'nonsense'});
$doctor->red_then_green('api_url', 'error', qr/nonsense/, "the address of a job's user", hint => qr/^ALTER ROLE "Job User" SET/);
is(scalar(my @two = $doctor->lines('api_url')), 2, 'each address has its own line');
$node->safe_psql('postgres', q{SELECT cron.unschedule(jobid) FROM cron.job WHERE username = 'Job User'});
my @own = split /\n/, $node->safe_psql('postgres', <<SQL);
SET app.settings.api_url = 'http://127.0.0.1:1';
SELECT hint FROM wee5_cron.doctor() WHERE check_name = 'api_url' AND status = 'warning';
SQL
is_deeply(\@own, ['RESET app.settings.api_url;'], 'an address that only this session has is reset by the hint');

# https.
$node->configure('postgres', api_url => 'http://app.example.com:8080/base');
$doctor->red_then_green('api_url_https', 'error', qr/clear text.*refused/, 'http to a public host is refused');
$doctor->green('api_url', '... keeps port and prefix', qr{^https://app\.example\.com:8080/base, });
$node->configure('postgres', api_url => 'http://app.example.com:8080/base');
$node->set_server('wee5_cron.allow_plain_http', 'on');
$doctor->red_then_green('api_url_https', 'warning', qr/clear text.*allow_plain_http allows it/, 'http to a public host is allowed');
$doctor->green('api_url', '... keeps port and prefix', qr{^https://app\.example\.com:8080/base, });
$node->set_server('wee5_cron.allow_plain_http', 'off');

# DNS.
$node->configure('postgres', api_url => 'https://no-such-host.invalid');
like($doctor->red('api_url_resolves', 'error', qr/cannot resolve no-such-host\.invalid: \S/, 'a name that does not exist'), qr/^-- Check the spelling/, '... and the hint says in words what to check');
$node->configure('postgres', api_url => 'https://[2001:db8::1]:8443');
$doctor->green('api_url_resolves', 'an IP address in api_url', qr/2001:db8::1$/);

# Loopback in a container: systemd's convention marks this as one.
$node->stop;
{
    local $ENV{container} = 'wee5-test';
    $node->start;
}
$node->wait_for_worker('postgres');
$node->configure('postgres', api_url => 'http://localhost:9/base');
$doctor->red_then_green('api_url_loopback', 'warning', qr{localhost:9/base is this container itself}, 'localhost in a container', hint => qr{'http://host\.docker\.internal:9/base'});
$node->configure('postgres', api_url => $url);
$doctor->green('api_url_loopback', 'localhost in a container whose app has answered', qr/has answered/);

# The secret.
$node->safe_psql('postgres', 'ALTER DATABASE postgres RESET app.settings.cron_secret');
$doctor->red_then_green('cron_secret', 'error', qr/cron_secret is not set/, 'no secret');
$node->configure('postgres', secret => "canary-with-a\nline-break");
$doctor->red_then_green('cron_secret', 'error', qr/line break/, 'a secret that no header can carry');
$node->configure('postgres', secret => 'canary-15-chars');
$doctor->green('cron_secret', 'the source and the length of the secret', qr/^15 characters, set for database "postgres"$/);
$doctor->red_then_green('cron_secret_length', 'warning', qr/has 15 characters/, 'a short secret');
$node->configure('postgres', secret => 'canary-of-16-chr');
$doctor->green('cron_secret_length', 'a secret of 16 characters');
is($node->safe_psql('postgres', "SET app.settings.cron_secret = 'canary-of-a-session'; SELECT hint FROM wee5_cron.doctor() WHERE check_name = 'cron_secret' AND status = 'warning'"),
    'RESET app.settings.cron_secret;', 'a secret that only this session has is reset by the hint');
$node->configure('postgres', secret => $secret);

# Which roles can read the secret.
$node->safe_psql('postgres', 'GRANT SELECT ON pg_db_role_setting TO PUBLIC');
my $read = q{SELECT count(*) FROM pg_db_role_setting WHERE setconfig::text LIKE '%cron!_secret=canary%' ESCAPE '!'};
is($node->psql_as('nobody', 'postgres', $read), 1, 'every role may read pg_db_role_setting');
$doctor->red_then_green('cron_secret_readers', 'warning', qr/every role may read pg_db_role_setting/, 'readable settings');
$node->raises('postgres', $read, '42501', 'after the hint of doctor() an ordinary role may not read pg_db_role_setting', role => 'nobody');
# The hint breaks nothing: settings arrive in new sessions, calls are made, and an unprivileged role sees its own settings.
$node->safe_psql('postgres', "ALTER ROLE nobody IN DATABASE postgres SET work_mem = '5MB'");
is($node->psql_as('nobody', 'postgres', 'SHOW work_mem'), '5MB', '... and settings of roles still apply in their sessions');
is($node->finished('postgres', $node->call('postgres', '/hello'))->{status}, 'succeeded', '... and calls still find their settings');
$node->safe_psql('postgres', 'CREATE DATABASE of_nobody OWNER nobody');
$node->safe_psql('of_nobody', 'REVOKE SELECT ON pg_db_role_setting FROM PUBLIC');
for my $case ([ 'a superuser', '', 'postgres' ], [ 'an owner', 'nobody', 'of_nobody' ]) {
    my ($who, $role, $database) = @$case;
    command_ok([ 'pg_dump', ($role ? ('-U', $role) : ()), ($role ? () : '-C'), '-f', "$PostgreSQL::Test::Utils::tmp_check/dump.sql", '-d', $node->connstr($database) ],
        "... $who dumps a database" . ($role ? '' : ', its settings too'));
}
command_fails_like([ 'pg_dump', '-C', '-U', 'nobody', '-f', "$PostgreSQL::Test::Utils::tmp_check/dump.sql", '-d', $node->connstr('of_nobody') ],
    qr/permission denied for table pg_db_role_setting/, '... and pg_dump -C by another role fails, as docs/secret.md says');

$node->safe_psql('postgres', "ALTER SYSTEM SET wee5_cron.protect_secret = off");
$node->restart;
$doctor->red_then_green('protect_secret', 'warning', qr/every role may SHOW/, 'a secret that every role may SHOW', restart => 1);

# Vault.
$node->safe_psql('postgres', "CREATE EXTENSION supabase_vault VERSION 'wee5fixture'");
$node->safe_psql('postgres', "ALTER DATABASE postgres RESET app.settings.api_url; ALTER DATABASE postgres RESET app.settings.cron_secret; ALTER DATABASE postgres RESET app.settings.cron_secret_previous");
$node->safe_psql('postgres', "SELECT wee5_cron.configure('$url', '$secret', store => 'vault')");
$doctor->green('cron_secret', 'a secret in Vault', qr/^25 characters, from Vault$/);
$doctor->green('cron_secret_readers', 'a secret only in Vault', qr/^no secret is stored with ALTER/);
$node->safe_psql('postgres', "SELECT vault.update_secret(id, 'nonsense') FROM vault.secrets WHERE name = 'api_url'");
$doctor->red_then_green('api_url', 'error', qr/nonsense/, 'an address in Vault', hint => qr/^SELECT vault\.update_secret/);
$node->safe_psql('postgres', "SELECT vault.update_secret(id, 'canary') FROM vault.secrets WHERE name = 'cron_secret'");
$doctor->red_then_green('cron_secret_length', 'warning', qr/has 6 characters/, 'a short secret in Vault', hint => qr/store => 'vault'/);
$node->safe_psql('postgres', "UPDATE vault.secrets SET nonce = decode(repeat('00', 16), 'hex') WHERE name = 'cron_secret'");
$doctor->red_then_green('cron_secret', 'error', qr/Vault cannot be read/, 'a secret that Vault cannot decrypt');
$node->safe_psql('postgres', 'DROP EXTENSION supabase_vault');
$node->configure('postgres', api_url => $url, secret => $secret);

# The outcome of calls. The ledger has the app's answer, and doctor() repeats the hint of the row.
$node->safe_psql('postgres', 'DELETE FROM wee5_cron.invocation');
my %red = (
    '/status/401'           => [ error   => qr/answered 401/,           qr/cron_secret/ ],
    '/status/404'           => [ error   => qr/answered 404/,           qr/api_url/ ],
    '/redirect?status=308&to=/login' => [ error => qr/answered 308/,    qr/^-- / ],
    '/html'                 => [ warning => qr/succeeded, but:.*HTML page/, qr/^-- The answer is an HTML page/ ],
    '/drop'                 => [ error   => qr/answer/,                 qr/log/ ],
);
$node->finished('postgres', $node->call('postgres', $_)) for sort keys %red;
for my $path (sort keys %red) {
    my ($status, $detail, $hint) = @{ $red{$path} };
    like($doctor->red('last_outcome', $status, qr/\Q$path\E.*$detail/s, "a call of $path"), $hint, '... with the hint of its row');
}
# The hint of a timeout is SQL that applies to the next call.
$node->safe_psql('postgres', "ALTER DATABASE postgres SET wee5_cron.request_timeout = '300ms'");
$node->finished('postgres', $node->call('postgres', '/slow?ms=1500'));
$doctor->paste($doctor->red('last_outcome', 'error', qr{/slow\?ms=1500.*did not answer}, 'a timeout'), 'a timeout: the hint runs as SQL');
is($node->finished('postgres', $node->call('postgres', '/slow?ms=1500'))->{status}, 'succeeded', '... and the next call has time enough');
is(scalar(grep { $_->{detail} =~ /slow/ } $doctor->lines('last_outcome')), 0, '... and doctor() no longer reports it');
# A redirect that only asks for another scheme or for www: doctor() takes the SQL from the hint in the ledger.
$node->safe_psql('postgres', 'DELETE FROM wee5_cron.invocation');
$node->safe_psql('postgres', <<'SQL');
INSERT INTO wee5_cron.invocation (endpoint_path, transport, status, reason, http_status, finished_at, error, hint)
VALUES ('/a', 'builtin', 'failed', 'redirect', 308, now(), 'The app answered 308 Permanent Redirect to /a, a redirect to https://www.example.com/a.',
        'Call the address that the app redirects to: ALTER DATABASE ... SET app.settings.api_url = ''https://www.example.com''');
SQL
$doctor->paste($doctor->red('last_outcome', 'error', qr/answered 308/, 'a redirect to www'), 'a redirect to www: the hint runs as SQL');
$doctor->green('api_url', 'after the hint of a redirect', qr{^https://www\.example\.com, });
$node->configure('postgres', api_url => $url);
# A path chosen by a caller never becomes SQL, whatever it contains.
$node->safe_psql('postgres', <<'SQL');
DELETE FROM wee5_cron.invocation;
INSERT INTO wee5_cron.invocation (endpoint_path, transport, status, reason, finished_at, error, hint)
SELECT '/' || n, 'builtin', 'failed', r, now(), 'x', h
FROM unnest(array['redirect', 'timeout', 'redirect', 'http'],
            array['Something sent /x: ALTER DATABASE ... SET app.settings.api_url = ''https://evil.example'' elsewhere',
                  'ALTER DATABASE ... SET wee5_cron.request_timeout = ''1s; DROP TABLE x''.',
                  E'Call the address that the app redirects to: ALTER DATABASE ... SET app.settings.api_url = ''https://e''\nSELECT 1/0; --''',
                  E'one line\rSELECT 1/0;\nSELECT 2/0;']) WITH ORDINALITY AS t (r, h, n);
SQL
for my $line ($doctor->lines('last_outcome')) {
    is(scalar(grep { !/^-- / } split /[\r\n]+/, $line->{hint} // ''), 0, "a hint with text from others is only a comment: $line->{detail}");
    $doctor->paste($line->{hint}, '... and runs as SQL without effect');
}
# The app is down: nothing listens.
$node->safe_psql('postgres', 'DELETE FROM wee5_cron.invocation');
$node->no_retries('postgres', '/hello');
$receiver->close_port;
$node->finished('postgres', $node->safe_psql('postgres', "SELECT wee5_cron.run_now('hello')"));
$doctor->red('last_outcome', 'error', qr{/hello by job "hello".*No connection to}, 'a job whose app is down');
$receiver->open_port;
$node->finished('postgres', $node->call('postgres', '/hello'));
$doctor->green('last_outcome', 'a newer success of the same path', qr/fine/);

# A pg_cron job that failed within the last day, or long ago: doctor() reports it while the job exists.
$node->safe_psql('postgres', <<'SQL');
DELETE FROM wee5_cron.invocation;
INSERT INTO wee5_cron.invocation (job_name, endpoint_path, transport, status, reason, requested_at, finished_at, error)
SELECT j, '/' || j, 'builtin', 'failed', 'http', now() - interval '40 days', now() - interval '40 days', 'old'
FROM unnest(array['hello', 'forgotten']) j;
INSERT INTO wee5_cron.invocation (endpoint_path, transport, status, reason, requested_at, finished_at, error)
VALUES ('/by-hand', 'builtin', 'failed', 'http', now() - interval '2 days', now() - interval '2 days', 'old');
SQL
is_deeply([ map { $_->{detail} =~ m{of (/\S+)} } $doctor->lines('last_outcome') ], ['/hello'], 'an old failure is reported only for a job that still exists');
$node->safe_psql('postgres', 'DELETE FROM wee5_cron.invocation');

unlike(slurp_file($node->logfile), qr/\Q$secret\E/, 'the log does not contain the secret');
$node->log_is_sane;
done_testing();
