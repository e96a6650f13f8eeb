#!/usr/bin/env python3
"""Stage: your_stage - Description"""

import sys
from pathlib import Path
sys.path.insert(0, str(Path(__file__).parent.parent))

from shared.stage_utils import StageIO

def main():
    io = StageIO("your_stage")
    logger = io.get_stage_logger()
    
    try:
        logger.info("Starting stage")
        
        # Input
        input_file = io.get_input_path("input.json")
        io.track_input(input_file, "json")
        
        # Process
        # ... your code ...
        
        # Output
        output_file = io.get_output_path("output.json")
        io.track_output(output_file, "json")
        
        io.finalize(status="success")
        logger.info("Stage complete")
        return 0
        
    except Exception as e:
        logger.error(f"Failed: {e}")
        io.finalize(status="failed")
        return 1

if __name__ == "__main__":
    sys.exit(main())
