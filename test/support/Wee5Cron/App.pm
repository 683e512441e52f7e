# examples/app as it is, on a free port.
package Wee5Cron::App;

use strict;
use warnings;

use Cwd qw(abs_path);
use File::Basename qw(dirname);

use PostgreSQL::Test::Utils;

use Wee5Cron::Process;

my $server = abs_path(dirname(__FILE__) . '/../../../examples/app/server.js');

# Wee5Cron::App->start(secret => '...', previous_secret => '...', port => ...); by default one secret, on a free port.
sub start {
    my ($class, %params) = @_;
    my $process = Wee5Cron::Process->start(
        command => [ 'node', $server ],
        env     => { CRON_SECRET => $params{secret}, CRON_SECRET_PREVIOUS => $params{previous_secret} // '', PORT => $params{port} // 0, HOST => '127.0.0.1' },
        log     => "$PostgreSQL::Test::Utils::log_path/app.log",
        until   => qr{listening on (http://\S+)},
    );
    my ($url) = $process->output =~ qr{listening on (http://\S+)};
    return bless { process => $process, url => $url }, $class;
}

sub url {
    my ($self) = @_;
    return $self->{url};
}

sub stop {
    my ($self) = @_;
    $self->{process}->stop;
    return;
}

1;
