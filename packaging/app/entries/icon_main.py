import runpy

runpy.run_module("tray.icon", run_name="__main__", alter_sys=True)
