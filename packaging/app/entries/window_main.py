import runpy

runpy.run_module("tray.window", run_name="__main__", alter_sys=True)
