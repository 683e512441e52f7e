# The secret is changed while calls are made: whichever side learns the new one first, no call is lost. The app is
# examples/app as it is.
use FindBin;
use lib "$FindBin::RealBin/../support";
use Wee5Cron::Test fixtures => ['supabase_vault'];
use Wee5Cron::App;

use JSON::PP;

my @secrets = map { "canary-of-the-rotation-$_" } qw(first second third fourth);
my $app  = Wee5Cron::App->start(secret => $secrets[0]);
my $url  = $app->url;
my ($port) = $url =~ /:(\d+)$/;
my $node = Wee5Cron::Node->start_new('main', conf => "log_min_messages = debug1\n");
$node->install('postgres');
$node->safe_psql('postgres', "SELECT wee5_cron.configure('$url', '$secrets[0]')");

my $path = '/api/cron/poll-activities';
$node->safe_psql('postgres', "INSERT INTO wee5_cron.endpoint (endpoint_path, retry_on) VALUES ('$path?never', 'never'), ('billing:$path?never', 'never')");

sub restart_app {
    my (%params) = @_;
    $app->stop;
    $app = Wee5Cron::App->start(%params, port => $port);
    return;
}

# Calls under both policies; `needed` says whether they need the previous secret.
sub calls_succeed {
    my ($needed, $name, $target) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    for my $called (map { ($target // '') . $_ } $path, "$path?never") {
        my $id = $node->call('postgres', $called);
        fields_are($node->finished('postgres', $id),
            { status => 'succeeded', http_status => 200, attempts => 1, error => undef, reason => undef, response_body => qr/"ok":true/,
              hint => $needed ? qr/^The app answered 401 to the present secret, and accepted the previous one/ : undef }, "$name: $called");
        my @attempts = $node->attempts('postgres', $id);
        is(join(' ', map { "$_->{attempt}:$_->{http_status}" } @attempts), '1:200', '... at the first attempt');
    }
    return;
}

sub kept {
    my $value = $node->safe_psql('postgres', q{SELECT substr(entry, length('app.settings.cron_secret_previous=') + 1) FROM pg_db_role_setting, unnest(setconfig) entry WHERE entry LIKE 'app.settings.cron\_secret\_previous=%'});
    return length $value ? decode_json($value) : undef;
}

sub doctor_says {
    my ($status, $detail, $name) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    fields_are($node->one_row('postgres', q{SELECT * FROM wee5_cron.doctor() WHERE check_name = 'cron_secret_previous'}), { status => $status, detail => $detail }, "$name: doctor() reports cron_secret_previous as $status");
    return;
}

calls_succeed(0, 'before any change');
is(kept(), undef, 'at first no previous secret is kept');
doctor_says('ok', 'no previous secret is kept', 'no previous secret');

# The database first.
$node->safe_psql('postgres', "SELECT wee5_cron.configure('$url/', '$secrets[1]')");
fields_are(kept(), { secret => $secrets[0], api_url => $url, until => qr/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/ }, 'configure() keeps the secret that it replaces');
is($node->safe_psql('postgres', "SELECT '@{[ kept()->{until} ]}'::timestamptz - now() BETWEEN '23:59' AND '24:00'"), 't', '... for a day');
doctor_says('ok', qr/^until .* UTC, calls that the app answers with 401 are made again with the previous secret$/, 'a previous secret');
calls_succeed(1, 'the database has the new secret first');
doctor_says('warning', qr/^the app still expects the previous secret, which is used until/, 'the app still expects the previous secret');
my $success = "INSERT INTO wee5_cron.invocation (endpoint_path, transport, status, finished_at, hint) VALUES";
$node->safe_psql('postgres', "$success ('billing:/x', 'builtin', 'succeeded', now(), NULL), ('wee5_cron.alert', 'builtin', 'succeeded', now(), NULL)");
doctor_says('warning', qr/^the app still expects/, 'a success of another app');
$node->safe_psql('postgres', "$success ('/x', 'builtin', 'succeeded', now(), wee5_cron.previous_secret_hint(now() - interval '1 day'))");
doctor_says('ok', qr/^until/, 'a success with the previous secret of an earlier change');
$node->safe_psql('postgres', "DELETE FROM wee5_cron.invocation WHERE endpoint_path IN ('/x', 'billing:/x', 'wee5_cron.alert')");
doctor_says('warning', qr/^the app still expects/, 'the newest success of the app');
restart_app(secret => $secrets[1]);
calls_succeed(0, 'the app has the new secret, too');
doctor_says('ok', qr/^until/, 'the app has the new secret');

# The app first.
restart_app(secret => $secrets[2], previous_secret => $secrets[1]);
calls_succeed(0, 'the app has the new secret first');
$node->safe_psql('postgres', "SELECT wee5_cron.configure('$url', '$secrets[2]')");
is(kept()->{secret}, $secrets[1], 'configure() keeps only the newest previous secret');
restart_app(secret => $secrets[2]);
calls_succeed(0, 'the database has the new secret, too');

# What changes nothing, and what removes it.
my $before = kept();
$node->safe_psql('postgres', "SELECT wee5_cron.configure('$url/base', '$secrets[2]'), wee5_cron.configure('$url', '$secrets[2]')");
is_deeply(kept(), $before, 'configure() with the present secret changes nothing');
$node->safe_psql('postgres', "BEGIN; SELECT wee5_cron.configure('http://localhost:$port', '$secrets[2]'); ROLLBACK");
is_deeply(kept(), $before, 'a configure() that is rolled back changes nothing');
$node->safe_psql('postgres', "SELECT wee5_cron.configure('http://localhost:$port', '$secrets[2]')");
is(kept(), undef, 'a new host removes the previous secret');
$node->safe_psql('postgres', "SELECT wee5_cron.configure('http://localhost:$port', '$secrets[1]')");
is(kept()->{secret}, $secrets[2], 'a new secret for that host keeps the one it replaces');
$node->safe_psql('postgres', "SELECT wee5_cron.configure('$url', '$secrets[2]')");
is(kept(), undef, 'the previous secret does not move to another host');
$node->safe_psql('postgres', "SELECT wee5_cron.configure('$url', '$secrets[1]'), wee5_cron.configure('$url', '$secrets[1]', keep_previous => false)");
is(kept(), undef, 'keep_previous => false removes the previous secret');
$node->safe_psql('postgres', "SELECT wee5_cron.configure('$url', '$secrets[0]', keep_previous => false)");
is(kept(), undef, 'keep_previous => false does not keep the secret that it replaces');
fields_are($node->finished('postgres', $node->call('postgres', $path)), { status => 'failed', http_status => 401 }, '... and calls do not try the old secret');
$node->raises('postgres', "SELECT wee5_cron.configure('$url', '$secrets[2]', keep_previous => NULL)", '22004', 'keep_previous => NULL is refused', message => qr/keep_previous must not be NULL/);

# What a user stored by hand. The app expects the third secret.
sub store_previous {
    my (%document) = @_;
    my $json = encode_json({ secret => $secrets[2], api_url => $url, until => $node->safe_psql('postgres', q{SELECT to_char((now() + '1 hour') AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')}), %document });
    $node->safe_psql('postgres', "ALTER DATABASE postgres SET app.settings.cron_secret_previous = '$json'");
    return;
}
store_previous();
calls_succeed(1, 'a previous secret stored by hand');
store_previous(until => '2001-01-01T00:00:00Z');
fields_are($node->finished('postgres', $node->call('postgres', $path)), { status => 'failed', http_status => 401, hint => qr/did not accept the bearer secret/ }, 'a previous secret is not used after its time');
doctor_says('ok', 'the previous secret was used until 2001-01-01 00:00:00 UTC, and no call uses it any more', 'a previous secret whose time is over');
store_previous(api_url => 'https://127.0.0.1:' . $port);
fields_are($node->finished('postgres', $node->call('postgres', $path)), { status => 'failed', http_status => 401 }, 'a previous secret is not used for another scheme');
doctor_says('ok', qr/^no call uses the previous secret, which is kept for https:/, 'a previous secret for another scheme');
store_previous(until => 'tomorrow');
fields_are($node->finished('postgres', $node->call('postgres', $path)), { status => 'failed', http_status => 401 }, 'a previous secret is not used if its document is invalid');
doctor_says('warning', qr/^app\.settings\.cron_secret_previous was not written by configure\(\), and no call uses it/, 'a previous secret with an invalid document');
is($node->safe_psql('postgres', "SELECT wee5_cron.redact_for('postgres', 'neither $secrets[0] nor $secrets[2]')"), 'neither [secret] nor [secret]', '... but its secret is still redacted');

# A target has a previous secret of its own.
$node->safe_psql('postgres', "SELECT wee5_cron.configure_target('billing', '$url', '$_')") for @secrets[ 2, 0 ];
calls_succeed(1, 'a target has a new secret first', 'billing:');
$node->safe_psql('postgres', "SELECT wee5_cron.configure_target('billing', 'http://localhost:$port', '$_')") for @secrets[ 0, 0 ];
fields_are($node->finished('postgres', $node->call('postgres', "billing:$path")), { status => 'failed', http_status => 401 }, 'the previous secret of a target does not move to another host');

# The setting is protected as the secret is.
$node->safe_psql('postgres', 'CREATE ROLE app LOGIN');
$node->raises('postgres', 'SHOW app.settings.cron_secret_previous', '42501', 'an ordinary role may not read the previous secret', role => 'app');
$node->raises('postgres', "SET app.settings.cron_secret_previous = 'x'", '42501', 'an ordinary role may not set the previous secret', role => 'app');
$node->raises('postgres', "ALTER SYSTEM SET app.settings.cron_secret_previous = 'x'", '55P02', 'ALTER SYSTEM refuses the previous secret');

# A role that may set only the two other settings.
$node->safe_psql('postgres', <<"SQL");
ALTER DATABASE postgres RESET app.settings.cron_secret_previous;
CREATE ROLE owner LOGIN; ALTER DATABASE postgres OWNER TO owner; ALTER FUNCTION wee5_cron.configure(text, text, text, boolean) OWNER TO owner;
GRANT SET ON PARAMETER app.settings.api_url, app.settings.cron_secret TO owner;
GRANT USAGE ON SCHEMA wee5_cron TO owner;
SQL
my (undef, undef, $warned) = $node->psql('postgres', "SELECT wee5_cron.configure('$url', '$secrets[3]')", extra_params => [ '-U', 'owner' ]);
like($warned, qr/WARNING:  permission denied to set parameter "app\.settings\.cron_secret_previous" for role "owner".*GRANT SET ON PARAMETER app\.settings\.cron_secret_previous TO owner;/s,
    'without the right to set the previous secret, configure() stores the new secret and does not keep the old one');
store_previous();
$node->raises('postgres', "SELECT wee5_cron.configure('$url', '$secrets[3]', keep_previous => false)", '42501', 'without that right, keep_previous => false is an error', role => 'owner');

# In Vault.
my ($vaulted) = map { $_->url } my $second = Wee5Cron::App->start(secret => $secrets[0]);
$node->safe_psql('postgres', 'CREATE DATABASE vaulted');
$node->install('vaulted');
$node->safe_psql('vaulted', q{CREATE EXTENSION supabase_vault VERSION 'wee5fixture'});
$node->safe_psql('vaulted', "SELECT wee5_cron.configure('$vaulted', '$_', store => 'vault')") for @secrets[ 0, 1 ];
my $held = q{SELECT decrypted_secret::json ->> 'secret' FROM vault.decrypted_secrets WHERE name = 'cron_secret_previous'};
is($node->safe_psql('vaulted', $held), $secrets[0], "with store => 'vault' the previous secret is kept in Vault");
fields_are($node->finished('vaulted', $node->call('vaulted', $path)), { status => 'succeeded', hint => qr/accepted the previous one/ }, '... and a call uses it');
$node->safe_psql('vaulted', "SELECT wee5_cron.configure('$vaulted', '$secrets[1]', store => 'vault', keep_previous => false)");
is($node->safe_psql('vaulted', q{SELECT count(*) FROM vault.secrets WHERE name = 'cron_secret_previous'}), 0, 'keep_previous => false removes it from Vault');

# None of it is in the ledger or in the log.
my $rows = $node->safe_psql('postgres', 'SELECT to_json(i) FROM wee5_cron.invocation i UNION ALL SELECT to_json(a) FROM wee5_cron.attempt a');
unlike($rows, qr/canary-of/, 'the ledger contains no secret');
$_->stop for $app, $second;
$node->stop;
unlike(join('', grep { !/ALTER DATABASE|redact_for/ } split /^/, slurp_file($node->logfile)), qr/canary-of/, 'the log contains no secret');

done_testing();
