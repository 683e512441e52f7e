# scripts/generate-cron-config.ts, piped into psql: afterwards the app is called with its secret.
use FindBin;
use lib "$FindBin::RealBin/../support";
use Wee5Cron::Test fixtures => [ 'pg_net', 'supabase_vault' ];
use Wee5Cron::Hosted;

use Cwd qw(abs_path);
use IPC::Run ();
use JSON::PP;

my $root    = abs_path("$FindBin::RealBin/../..");
my $modules = "$root/test/scripts/node_modules";
plan skip_all => 'tsx is not installed: npm ci --prefix test/scripts' unless -e "$modules/tsx/dist/cli.mjs";

my $app = PostgreSQL::Test::Utils::tempdir;

# The script's standard output and error, run in the app's directory with these variables.
sub generate {
    my ($variables, @options) = @_;
    my %environment = (PATH => $ENV{PATH}, HOME => $app, TMPDIR => $app, %$variables);
    my ($stdout, $stderr);
    IPC::Run::run(
        [ 'node', "$modules/tsx/dist/cli.mjs", "$root/scripts/generate-cron-config.ts", @options ],
        '<', \undef, '>', \$stdout, '2>', \$stderr,
        init => sub { chdir $app; %ENV = %environment })
      or die "generate-cron-config @options: $stderr";
    return ($stdout, $stderr);
}

# Every character with a meaning in SQL, psql, dotenv or a dollar quote.
my $secret = q{it's a \\ "secret" $$ $wee5$ %L :x :'x' \'; DROP TABLE wee5_cron.invocation; -- };
$secret =~ s/\s+\z//;
my $receiver = Wee5Cron::Receiver->start(secret => $secret);
my $node     = Wee5Cron::Node->start_new('main');
$node->install('postgres');

my %here = (APP_URL => $receiver->url . '/prefix', CRON_SECRET => $secret);
my $calls = 0;

# A call of that database reaches the app with the secret.
sub calls_the_app {
    my ($database, $name) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $path = '/call-' . ++$calls;
    my $row  = $node->finished($database, $node->call($database, $path));
    fields_are($row, { status => 'succeeded', url => "$here{APP_URL}$path" }, $name);
    my @requests = $receiver->requests("/prefix$path");
    is(join(' ', map { $_->{bearer} } @requests), 'match', '... and with the secret');
    return;
}

# --to guc, in the database where it is run, with either meaning of a backslash, where the server has both.
my @meanings = ('on', $node->standard_strings_off =~ /^standard_conforming_strings = (off)/);
my ($sql) = generate(\%here, '--to', 'guc', '--allow-localhost');
for my $conforming (@meanings) {
    $node->safe_psql('postgres', 'ALTER DATABASE postgres RESET ALL');
    ok($node->error_of('postgres', q{SELECT invoke_cron_endpoint('/x')}), 'without settings a call is an error');
    local $ENV{PGOPTIONS} = "-c standard_conforming_strings=$conforming";
    $node->safe_psql('postgres', $sql);
    calls_the_app('postgres', "guc, with standard_conforming_strings = $conforming");
}

# The default, and into Vault: the extension reads the same value in both.
($sql) = generate(\%here, '--allow-localhost');
for my $conforming (@meanings) {
    $node->safe_psql('postgres', 'ALTER DATABASE postgres RESET ALL');
    local $ENV{PGOPTIONS} = "-c standard_conforming_strings=$conforming";
    $node->safe_psql('postgres', $sql);
    calls_the_app('postgres', "configure, with standard_conforming_strings = $conforming");
}
$node->safe_psql('postgres', 'ALTER DATABASE postgres RESET ALL');
$node->safe_psql('postgres', q{CREATE EXTENSION supabase_vault VERSION 'wee5fixture'});
($sql) = generate(\%here, '--to', 'vault', '--allow-localhost');
for my $conforming (@meanings) {
    $node->safe_psql('postgres', 'DELETE FROM vault.secrets');
    local $ENV{PGOPTIONS} = "-c standard_conforming_strings=$conforming";
    $node->safe_psql('postgres', $sql) for 1 .. 2;
    calls_the_app('postgres', "vault, twice, with standard_conforming_strings = $conforming");
}
$node->safe_psql('postgres', 'DROP EXTENSION supabase_vault');

# --database, from another database.
my $name = q{my "app"; $1 :x};
$node->safe_psql('postgres', q{CREATE DATABASE "my ""app""; $1 :x"});
$node->safe_psql($name, 'CREATE EXTENSION wee5_cron');
($sql) = generate(\%here, '--to', 'guc', '--database', $name, '--allow-localhost');
for my $conforming (@meanings) {
    $node->safe_psql($name, 'ALTER DATABASE "my ""app""; $1 :x" RESET ALL');
    local $ENV{PGOPTIONS} = "-c standard_conforming_strings=$conforming";
    $node->safe_psql('postgres', $sql);
    calls_the_app($name, "guc for another database, with standard_conforming_strings = $conforming");
}

# Rotation: the app has a new secret, the database gets it by the same command, and .env.local has the new one.
my (undef, $note) = generate({ APP_URL => $here{APP_URL} }, '--to', 'guc', '--allow-localhost', '--generate-secret');
my ($fresh) = $note =~ /^CRON_SECRET=([0-9a-f]{64})$/m;
PostgreSQL::Test::Utils::append_to_file("$app/.env.local", $note);
$receiver = Wee5Cron::Receiver->start(secret => $fresh);
$here{APP_URL} = $receiver->url . '/prefix';
PostgreSQL::Test::Utils::append_to_file("$app/.env.local", "SUPABASE_APP_URL='$here{APP_URL}'\n");
($sql) = generate({}, '--to', 'guc', '--allow-localhost');
$node->safe_psql('postgres', $sql);
calls_the_app('postgres', 'the new secret from .env.local');

# --to configure, the default.
$node->safe_psql('postgres', 'ALTER DATABASE postgres RESET ALL');
($sql) = generate({}, '--allow-localhost');
$node->safe_psql('postgres', $sql);
calls_the_app('postgres', 'configure');

# --to vault. The values stored for the database would take precedence: the script says so, with the statements that remove
# them.
my ($other) = generate({ SUPABASE_APP_URL => 'https://elsewhere.example', CRON_SECRET => 'not the one: 0123' }, '--to', 'vault');
like($node->error_of('postgres', $other)->{text}, qr/Vault is not in the database.*HINT:  CREATE EXTENSION supabase_vault/s,
    '--to vault without Vault names the missing extension');
$node->safe_psql('postgres', q{CREATE EXTENSION supabase_vault VERSION 'wee5fixture'});
my (undef, undef, $warnings) = $node->psql('postgres', $other);
my @resets = $warnings =~ /WARNING:.*counts more than Vault\nHINT:  (ALTER DATABASE \w+ RESET app\.settings\.\w+;)/g;
is(scalar @resets, 2, '--to vault warns of both values that take precedence over Vault');
$node->safe_psql('postgres', "@resets");
is(stored_in_vault(), 'api_url=https://elsewhere.example,cron_secret=not the one: 0123', 'the first run of --to vault creates the secrets');
$here{CRON_SECRET} = $fresh;
($sql) = generate(\%here, '--to', 'vault', '--allow-localhost');
$node->safe_psql('postgres', $sql);
is(stored_in_vault(), "api_url=$here{APP_URL},cron_secret=$fresh", 'the second run of --to vault updates the secrets');
calls_the_app('postgres', 'vault');

sub stored_in_vault {
    return $node->safe_psql('postgres',
        q{SELECT string_agg(name || '=' || decrypted_secret, ',' ORDER BY name) FROM vault.decrypted_secrets});
}

# A new secret: the one that it replaces is kept, but only for the same app. --to configure leaves that to configure().
my %store = (
    guc   => q{ALTER DATABASE postgres SET app.settings.api_url = 'https://app.example.com'; ALTER DATABASE postgres SET app.settings.cron_secret = 'first-secret-0123'},
    vault => q{SELECT vault.create_secret('https://app.example.com', 'api_url'), vault.create_secret('first-secret-0123', 'cron_secret')});
for my $to (sort keys %store) {
    $node->safe_psql('postgres', "ALTER DATABASE postgres RESET ALL; DELETE FROM vault.secrets; $store{$to}");
    for my $step (
        [ 't t', 'a new secret', "second's \\ secret", 'https://APP.example.com:443/base' ],
        [ 'f f', '--drop-previous', 'third-secret-0123', 'https://app.example.com', '--drop-previous' ],
        [ 'f f', 'another app', 'fourth-secret-0123', 'https://app.example.com:8443' ])
    {
        my ($kept, $name, $new, $url, @options) = @$step;
        my ($statements) = generate({ SUPABASE_APP_URL => $url, CRON_SECRET => $new }, '--to', $to, @options);
        $node->safe_psql('postgres', $statements);
        is($node->safe_psql('postgres', q{SELECT concat_ws(' ', p.is_kept, p.is_used) FROM wee5_cron.previous_secret_of(session_user) p}), $kept, "--to $to keeps the previous secret as it should: $name");
    }
}

# The script and the extension accept the same values.
my $ok = '0123456789abcdef';
my @values = (
    (map { { url => $_, secret => $ok } } qw(
          https://app.example.com https://app.example.com/ https://app.example.com// HTTPS://App.Example.com:8443
          https://app.example.com:443/ https://example.com/base https://example.com/base/ https://example.com/base//
          https://example.com/a//b https://example.com/a/../b https://example.com/%2e%2e https://example.com/a%2f..
          https://example.com/50% https://example.com/50%25 https://example.com/it's https://example.com/$a*(b)
          https://example.com/{a}|b^c` https://example.com/~a https://user@example.com https://user:pw@example.com
          https://example.com?x=1 https:\\\\example.com https://example.com:0 https://example.com:65535
          https://example.com:65536 https://example.com:80x https://example.com:-1 https://:443 https:// https:///x
          example.com //example.com ftp://example.com https:/example.com https:example.com https://exa%6dple.com
          https://xn--bcher-kva.example https://[::1] https://[::1]:8443 https://[::1 https://[zz] https://[1:2]
          https://93.184.216.34 http://app http://app:3000 http://app_1 http://app. http://app.internal http://app.local
          http://APP.LOCAL. http://app.localhost http://localhost:3000 http://LOCALHOST http://example.com
          http://local http://app.local.example.com http://127.0.0.1 http://127.1 http://0x7f.1 http://2130706433
          http://017700000001 http://1572395042 http://93.184.216.34 http://10.0.0.1 http://10.256 http://172.15.0.1
          http://172.16.0.1 http://172.31.255.255 http://172.32.0.1 http://192.168.0.1 http://192.169.0.1
          http://169.254.0.1 http://0.0.0.0 http://[::1] http://[fd00::1] http://[fe80::1] http://[fe80::1%25eth0]
          http://[fec0::1] http://[2001:db8::1] http://[::ffff:10.0.0.1] http://[::ffff:93.184.216.34] http://1.2.3.4.5
          )),
    (map { { url => $_, secret => $ok } } 'https://example.com/a b', "https://example.com/a\tb", "https://example.com\x7f",
        ' https://example.com ', 'https://example.com#x', "https://example.com/gr\xf6\xdfe", "https://b\xfccher.example", "https://app\x{3002}example",
        'https://example.com/' . 'x' x 2047, 'https://example.com/' . 'x' x 2048),
    (map { { url => 'https://example.com', secret => $_ } } "$ok\ta", "$ok\na", "$ok\ra", "$ok\x01a", "$ok\x7fa", "$ok a",
        "$ok\xe4", "$ok\x{3042}", "$ok'\\\"`\$"),
);
my $json = JSON::PP->new->ascii;
my $verdicts;
IPC::Run::run([ 'node', "$root/test/scripts/judge_values.js" ], '<', \$json->encode(\@values), '>', \$verdicts)
  or die 'judge_values.js failed';
my @script = map { $_ ? 'taken' : 'refused' } @{ $json->decode($verdicts) };

# All in one transaction, which is rolled back: nothing is sent.
my @sql = map {
    my ($url, $bearer) = map { my $text = $_; $text =~ s/([\\'])/$1$1/g; "E'" . _escaped($text) . "'" } @$_{qw(url secret)};
    "SELECT pg_temp.verdict($url, $bearer);"
} @values;

sub _escaped {
    my ($text) = @_;
    $text =~ s/([^\x20-\x7e])/sprintf '\\u%04x', ord $1/ge;
    return $text;
}

sub judged_alike {
    my ($judge, $run) = @_;
    my @judged = split /\n/, $run->(join "\n", <<'SQL', @sql, 'ROLLBACK;');
BEGIN;
CREATE FUNCTION pg_temp.verdict(api_url text, cron_secret text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
  PERFORM wee5_cron.configure(api_url, cron_secret);
  PERFORM public.invoke_cron_endpoint('/x');
  RETURN 'taken';
EXCEPTION WHEN invalid_parameter_value THEN
  RETURN 'refused';
END $$;
SQL
    is(scalar @judged, scalar @values, "$judge has judged every value");
    my @differ = grep { $script[$_] ne ($judged[$_] // '') } 0 .. $#values;
    ok(!@differ, "the script and $judge refuse the same addresses and secrets");
    diag(map { "$script[$_] by the script, $judged[$_] by $judge: " . $json->encode($values[$_]) . "\n" } @differ);
    return;
}
judged_alike('the extension', sub { return $node->safe_psql('postgres', $_[0]) });
ok(scalar(grep({ $_ eq 'taken' } @script)) > 30 && scalar(grep { $_ eq 'refused' } @script) > 30, '... and the values include many accepted and many refused ones');

# --to portable, on a hosted server whose database settings hold the values of another app.
my $hosted = Wee5Cron::Hosted->start_new('hosted');
$hosted->install_portable;
judged_alike('the portable edition', sub { return $hosted->as_owner($_[0]) });
$hosted->safe_psql('postgres', "ALTER DATABASE postgres SET app.settings.api_url = 'https://old.example.com'; ALTER DATABASE postgres SET app.settings.cron_secret = 'an old secret of the app'");
($sql) = generate(\%here, '--to', 'portable', '--allow-localhost');
for my $run (1, 2) {
    $hosted->as_owner($sql);
    my $id = $hosted->as_owner("SELECT invoke_cron_endpoint('/portable-$run')");
    $hosted->deliver_and_harvest;
    fields_are($hosted->invocation('postgres', $id), { status => 'succeeded', url => "$here{APP_URL}/portable-$run" }, "portable, run $run");
}

done_testing();
