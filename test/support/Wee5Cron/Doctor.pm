# Tests doctor(): which lines it returns, and whether its hints help if they are pasted unchanged.
#
#   use Wee5Cron::Doctor;
#   my $doctor = Wee5Cron::Doctor->new($node, 'postgres');
#   $doctor->red_then_green('api_url', 'error', qr/not set/, 'no address');
package Wee5Cron::Doctor;

use strict;
use warnings;

use PostgreSQL::Test::Utils;
use Test::More;

sub new {
    my ($class, $node, $database) = @_;
    return bless { node => $node, database => $database }, $class;
}

# All lines of doctor(), or those of one check.
sub lines {
    my ($self, $check) = @_;
    my @lines = $self->{node}->rows($self->{database}, 'SELECT * FROM wee5_cron.doctor()');
    return @lines unless defined $check;
    return grep { $_->{check_name} eq $check } @lines;
}

sub _shown {
    my (@lines) = @_;
    return join "\n", map { "$_->{check_name} $_->{status}: $_->{detail}" . (defined $_->{hint} ? "\n  $_->{hint}" : '') } @lines;
}

# The lines that are not ok, except those of the named checks.
sub complaints {
    my ($self, @besides) = @_;
    my %besides = map { $_ => 1 } @besides;
    return map { "$_->{check_name} $_->{status}: $_->{detail}" } grep { $_->{status} ne 'ok' && !$besides{ $_->{check_name} } } $self->lines;
}

# The check has at least one line, and all of them are ok. If `detail` is given, it matches one of them.
sub green {
    my ($self, $check, $name, $detail) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my @lines = $self->lines($check);
    my $good  = ok(@lines && !(grep { $_->{status} ne 'ok' } @lines) && (!$detail || grep { $_->{detail} =~ $detail } @lines), "$name: $check is ok");
    diag(_shown(@lines) || "no line $check") unless $good;
    return $good;
}

# The check has a line with that status and a matching detail. Returns the line's hint.
sub red {
    my ($self, $check, $status, $detail, $name) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my @lines = $self->lines($check);
    my ($line) = grep { $_->{status} eq $status && $_->{detail} =~ $detail } @lines;
    ok($line, "$name: doctor() reports $check as $status") or diag(_shown(@lines) || "no line $check");
    return $line ? $line->{hint} // '' : '';
}

# Runs a hint as it stands, as a superuser. `in`: in another database.
sub paste {
    my ($self, $hint, $name, %params) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my ($status, $stdout, $stderr) = $self->{node}->psql($params{in} // $self->{database}, $hint);
    my $good = is($status, 0, $name);
    diag("$stderr\nof:\n$hint") unless $good;
    return $good;
}

# The check is red; its hint runs as it stands; then the check is green. restart: the hint asks for a restart.
sub red_then_green {
    my ($self, $check, $status, $detail, $name, %params) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $hint = $self->red($check, $status, $detail, $name);
    like($hint, $params{hint}, "$name: the hint") if $params{hint};
    $self->paste($hint, "$name: its hint runs as SQL");
    if ($params{restart}) {
        like($hint, qr/^-- then restart the server$/m, "$name: the hint asks for a restart");
        $self->{node}->restart;
        $self->{node}->wait_for_worker($self->{database}) if $params{worker} // 1;
    }
    return $self->green($check, "$name: the hint helps");
}

1;
