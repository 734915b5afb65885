# The formula for a Homebrew tap: copy it to Formula/minipach.rb of the tap.
# `make release` writes dist/minipach.rb from this file: version and hash are those of the release.
# `brew update-python-resources minipach` adds the `resource` blocks of the dependencies.
class Minipach < Formula
  include Language::Python::Virtualenv

  desc "Miniature Pachyderm on DataLad and git-annex"
  homepage "@HOMEPAGE@"
  url "@ADDRESS@"
  sha256 "@SHA256@"
  license "MIT"

  depends_on "rust" => :build # pydantic-core
  depends_on "git-annex"
  depends_on "libyaml"
  depends_on "python@3.13"

  def install
    virtualenv_install_with_resources
  end

  test do
    assert_match version.to_s, shell_output("#{bin}/minipach --version")
    system bin/"minipach", "init", "study"
  end
end
