# The real Supabase Vault, if the server has it: values are stored there, read from there, and rotated.
use FindBin;
use lib "$FindBin::RealBin/../support";
use Wee5Cron::Test;

# A control file other than our stand-in's, 0.3 or newer, and the library that decrypts.
sub vault_available {
    my ($sharedir, $libdir) = map { my $dir = `pg_config --$_`; chomp $dir; $dir } qw(sharedir pkglibdir);
    my $control = "$sharedir/extension/supabase_vault.control";
    return 0 unless -s $control && -e "$libdir/supabase_vault.so";
    my ($major, $minor) = slurp_file($control) =~ /^\s*default_version\s*=\s*'(\d+)\.(\d+)/m;
    return defined $major && ($major > 0 || $minor >= 3);
}
plan skip_all => 'supabase_vault not available' unless vault_available();

my ($one, $two) = map { Wee5Cron::Receiver->start(secret => "canary-of-the-real-vault-$_") } 1 .. 2;
my $node = Wee5Cron::Node->new_configured('main', preload => 'supabase_vault,pg_cron,wee5_cron');
# It runs this script for the server's key.
my $getkey = $node->data_dir . '/getkey';
append_to_file($getkey, "#!/bin/sh\necho " . 'c0ffee42' x 8 . "\n");
chmod 0700, $getkey or die "$getkey: $!";
$node->append_conf('postgresql.conf', "vault.getkey_script = '$getkey'");
$node->start;
$node->install('postgres');
$node->safe_psql('postgres', 'CREATE EXTENSION supabase_vault');

sub configure_vault {
    my ($receiver, $number) = @_;
    my ($status, $stdout, $stderr) = $node->psql('postgres', sprintf "SELECT wee5_cron.configure('%s', 'canary-of-the-real-vault-%d', 'vault')", $receiver->url, $number);
    return $stdout . $stderr;
}

is(configure_vault($one, 1) =~ s/\s+//r, '', "configure() with store => 'vault' prints nothing");
is($node->safe_psql('postgres', "SELECT string_agg(name, ' ' ORDER BY name) FROM vault.secrets WHERE secret NOT LIKE '%canary%' AND secret NOT LIKE '%http%'"),
    'api_url cron_secret', '... and both values are encrypted in Vault');
my $row = $node->finished('postgres', $node->call('postgres', '/real'));
fields_are($row, { status => 'succeeded', url => $one->url . '/real' }, 'a call uses the address from Vault');
is(($one->requests('/real'))[0]{bearer}, 'match', '... and the secret from Vault');

$node->block_the_wire('postgres', $one);
my $queued = $node->call('postgres', '/queued');
is(configure_vault($two, 2) =~ s/\s+//r, '', 'a second configure() prints nothing');
is($node->safe_psql('postgres', 'SELECT count(*) FROM vault.secrets'), 2, '... and updates the same two secrets');
$one->release;
fields_are($node->finished('postgres', $queued), { status => 'succeeded', url => $two->url . '/queued' }, '... and a queued call uses the new address');
is(($two->requests('/queued'))[0]{bearer}, 'match', '... and the new secret');

# A secret in a table that was copied from another server.
$node->safe_psql('postgres', q{UPDATE vault.secrets SET secret = encode(sha256('another key')::bytea, 'base64') WHERE name = 'cron_secret'});
$node->raises('postgres', "SELECT invoke_cron_endpoint('/foreign')", '55000', 'a call with a secret of another key is an error', message => qr/Vault cannot be read: .*invalid ciphertext/, hint => qr/configure/);
is($node->safe_psql('postgres', "SELECT source FROM wee5_cron.setting_sources() WHERE name = 'app.settings.cron_secret'"), 'none', 'a secret that Vault cannot decrypt is not used');
my $broken = configure_vault($two, 2);
like($broken, qr/invalid ciphertext.*HINT:.*DELETE FROM vault\.secrets/s, '... and cannot be updated, which the hint says');
$node->safe_psql('postgres', $broken =~ /(DELETE [^;]*;)/);
is(configure_vault($two, 2) =~ s/\s+//r, '', '... but can be stored again after the hint');
is($node->finished('postgres', $node->call('postgres', '/again'))->{status}, 'succeeded', '... and a call uses it');

unlike(slurp_file($node->logfile), qr/canary-of-the-real/, 'the log does not contain the secret');
$node->log_is_sane;
done_testing();
