# A webhook's address and a proxy's password are secrets, like the bearer. Postgres quotes the value of a setting that it
# refuses, and the statement that caused an error. Neither may reach the client or the log.
use FindBin;
use lib "$FindBin::RealBin/../support";
use Wee5Cron::Test;

my $canary = 'canary-of-a-refused-value';
my $node   = Wee5Cron::Node->start_new('main', conf => "log_min_error_statement = debug1\nlog_parameter_max_length_on_error = -1");
$node->safe_psql('postgres', 'CREATE ROLE plain LOGIN');

# Everything that a client has received and the log has recorded since the last look.
my $seen = 0;
sub new_log_lines {
    my $log = substr slurp_file($node->logfile), $seen;
    $seen += length $log;
    return $log;
}
sub stays_secret {
    my ($statement, $sqlstate, $name, %options) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $error = $node->error_of('postgres', $statement, role => $options{role});
    my $log   = new_log_lines();
    is($error->{sqlstate}, $sqlstate, $name);
    like($error->{message}, $options{message}, '... and the error names the setting') if $options{message};
    # psql shows the line of the statement with a syntax error: the client knows its own statement.
    unlike($error->{message} . ($error->{hint} // ''), qr/canary/, '... and the error does not contain the value');
    like($log, qr/ERROR:/, '... and the log records the error');
    unlike($log, qr/canary/, '... and the log does not contain the value');
    return;
}

my %bad = (
    'wee5_cron.alert_url' => [ "ftp://hooks.example.com/$canary", "hooks.example.com/$canary", "https://$canary\@hooks.example.com/", "https://hooks.example.com/$canary b", 'https://hooks.example.com/' . $canary x 200 ],
    'wee5_cron.proxy'     => [ "socks5://user:$canary\@proxy:1", "http://user:$canary\@proxy:0", "http://user:$canary\@proxy/path", "http://user:$canary b\@proxy", "http://user:" . $canary x 100 . '@proxy' ],
);
for my $setting (sort keys %bad) {
    my $refused = { message => qr/^invalid value for parameter "\Q$setting\E"$/ };
    for my $value (@{ $bad{$setting} }) {
        my $shown = substr $value, 0, 30;
        stays_secret("SET $setting = '$value'", '22023', "SET $setting = '$shown...'", %$refused);
        stays_secret("ALTER SYSTEM SET $setting = '$value'", '22023', 'ALTER SYSTEM', %$refused);
        stays_secret("ALTER DATABASE postgres SET $setting = '$value'", '22023', 'ALTER DATABASE', %$refused);
        stays_secret("SELECT set_config('$setting', '$value', false)", '22023', 'set_config()', %$refused);
        stays_secret("DO \$\$ BEGIN SET $setting = '$value'; END \$\$", '22023', 'in a function', %$refused);
    }
    stays_secret("DO \$\$ BEGIN EXECUTE 'SET $setting = ''$canary'; END \$\$", '42601', "$setting: a syntax error inside EXECUTE");
    stays_secret("SET $setting = '$canary' oops", '42601', "$setting: a syntax error in a plain SET");
    stays_secret("SET $setting = 'https://$canary/x'", '42501', "$setting: a SET without the privilege", role => 'plain');
}
stays_secret("SET app.settings.cron_secret = '$canary'", '42501', 'the secret: a SET without the privilege', role => 'plain');
stays_secret("ALTER DATABASE nowhere SET app.settings.cron_secret = '$canary'", '3D000', 'the secret: ALTER DATABASE of a database that does not exist');
stays_secret("ALTER DATABASE postgres SET App.Settings.CRON_SECRET = '$canary' oops", '42601', 'the secret: a syntax error');
my $document = qq({"billing": {"api_url": "https://billing.example.com", "secret": "$canary"}});
stays_secret("SET app.settings.cron_targets = '$document'", '42501', 'targets: a SET without the privilege', role => 'plain');
stays_secret("ALTER ROLE plain SET app.settings.cron_targets = '$document'", '42501', 'targets: ALTER ROLE without the privilege', role => 'plain');
stays_secret("ALTER DATABASE nowhere SET app.settings.cron_targets = '$document'", '3D000', 'targets: ALTER DATABASE of a database that does not exist');
stays_secret("ALTER DATABASE postgres SET App.Settings.CRON_TARGETS = '$document' oops", '42601', 'targets: a syntax error');
stays_secret("ALTER SYSTEM SET app.settings.cron_targets = '$document'", '55P02', 'targets: ALTER SYSTEM');
stays_secret("DO \$\$ BEGIN EXECUTE 'SET app.settings.cron_targets = ''$canary'; END \$\$", '42601', 'targets: a syntax error inside EXECUTE');

# A value that is accepted, and its change by a reload.
$node->set_server('wee5_cron.alert_url', "https://hooks.example.com/services/$canary");
$node->set_server('wee5_cron.proxy',     "http://user:$canary\@127.0.0.1:9");
$node->set_server('wee5_cron.alert_url', "https://hooks.example.com/services/other-$canary");
my $log = new_log_lines();
like($log, qr/parameter "\Q$_\E" changed$/m, "a reload logs that $_ changed") for sort keys %bad;
unlike($log, qr/canary/, '... and the log does not contain the value');

# An invalid value in the configuration file, at a reload and at the start.
$node->append_conf('postgresql.conf', "wee5_cron.trace = off\n");
$node->safe_psql('postgres', "ALTER SYSTEM RESET ALL");
$node->append_conf('postgresql.conf', "wee5_cron.alert_url = 'ftp://hooks.example.com/$canary'\nwee5_cron.proxy = 'socks5://user:$canary\@proxy:1'\n");
$node->safe_psql('postgres', 'SELECT pg_reload_conf()');
$node->poll_query_until('postgres', "SELECT current_setting('wee5_cron.trace') = 'off'");
$node->restart;
$log = new_log_lines();
like($log, qr/invalid value for parameter "\Q$_\E"\s*$/m, "the log names $_ when the configuration file has an invalid value") for sort keys %bad;
unlike($log, qr/canary/, '... and does not contain the value');

# Stored for a database while nothing could check it: each session is warned.
$node->append_conf('postgresql.conf', "wee5_cron.alert_url = ''\nwee5_cron.proxy = ''\nshared_preload_libraries = ''\n");
$node->restart;
$node->safe_psql('postgres', "ALTER DATABASE postgres SET wee5_cron.alert_url = 'ftp://hooks.example.com/$canary'");
new_log_lines();
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'pg_cron,wee5_cron'\n");
$node->restart;
my ($status, $stdout, $stderr) = $node->psql('postgres', 'SELECT 1');
like($stderr, qr/invalid value for parameter "wee5_cron\.alert_url"$/m, 'each session is warned of a stored value that is invalid');
unlike($stderr . new_log_lines(), qr/canary/, '... and the warning does not contain the value');

done_testing();
